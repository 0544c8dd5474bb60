// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"
#include "core/config/json.h"
#include "core/run/folder_lock.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// The record of a run in its output folder. While the run goes on, each finished sample is one line of
/// `run.journal.jsonl`, appended and flushed, so that a run that is killed loses nothing; at the end (finished,
/// cancelled or failed) everything is in `run.json`, a pipeline that can be run again.
///
/// Several processes may each make a part of the samples of one run: each has a journal of its own,
/// `run.journal.2-of-8.jsonl`, and reads those of the others; the last one to finish writes run.json.
class RunFolder {
 public:
  /// Opens the folder, makes it when missing, and reads what an earlier run left.
  /// @param fingerprint  of everything that decides the samples; an earlier run with another one is not continued.
  /// @param overwrite    forget an earlier run with another fingerprint instead of refusing.
  /// @param manifest     what run.json is going to hold, for messages: what differs in an earlier run's; may be null.
  /// @throws DataError when the folder holds another run's results, RuntimeError when it cannot be written or another
  /// process is writing to it.
  RunFolder(std::filesystem::path folder, std::string fingerprint, bool overwrite, const Part& part = {},
            std::shared_ptr<const Json> manifest = nullptr);

  /// Looks, without writing, whether a run with this fingerprint has worked here. @throws DataError for another one's
  static bool check(const std::filesystem::path& folder, const std::string& fingerprint,
                    std::shared_ptr<const Json> manifest = nullptr);

  const std::filesystem::path& path() const { return folder_; }

  /// Whether an earlier run with this fingerprint worked here.
  bool continued() const { return continued_; }

  /// Whether that run finished all its samples: its run.json says so.
  bool complete() const { return complete_; }

  /// Marks the folder as this run's, from when on a later one continues it. @throws RuntimeError when it cannot be
  /// written.
  void start();

  /// Whether the sample is there: recorded, and its files have the recorded sizes and hashes.
  bool finished(const std::string& sample) const;

  /// Whether no sample has been recorded.
  bool empty() const { return samples_.empty(); }

  /// Adds one finished sample, {"files": {relative path: sha256}, facts...}; its files are already in place.
  void add(const std::string& sample, const Json& record);
  /// Notes how a part went, when it is finished.
  void add_part(const Json& facts);
  /// Whether all of these samples are recorded, by whichever process, and this one is to describe the run: what the
  /// others recorded is known from then on.
  bool last_of(const std::vector<std::string>& samples);
  /// Writes run.json from `manifest` (samples, parts and status are filled in) and removes the journals.
  void close(const Json& manifest, bool complete);
  /// Forgets a run that failed before it finished a sample: removes the journal, and the folder when it was made here
  /// and nothing is in it.
  void discard();

 private:
  /// To read only.
  explicit RunFolder(std::filesystem::path folder);
  std::vector<std::filesystem::path> journals() const;
  void read_manifest(bool overwrite);
  void read_journal(const std::filesystem::path& file, bool overwrite);
  void read_all(bool overwrite);
  void forget_other_run(const std::filesystem::path& file, bool overwrite, const Json& earlier) const;
  void remember(const Json& sample);

  std::filesystem::path folder_;
  std::string fingerprint_;
  std::shared_ptr<const Json> manifest_;
  std::string journal_;  ///< name of this process's own
  bool part_;
  std::vector<Json> parts_;
  std::map<std::string, std::shared_ptr<const Json>> samples_;
  bool continued_ = false;
  bool complete_ = false;
  bool made_;
  std::optional<FolderLock> lock_;       ///< of whoever writes
  std::optional<FolderLock> part_lock_;  ///< from start on
};

/// "2026-11-22T05:24:09Z"
std::string utc_now();

}  // namespace medgen
