// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/run/folder_lock.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace medgen {

/// The record of a run in its output folder. While the run goes on, each finished sample is one line of
/// `run.journal.jsonl`, appended and flushed, so that a run that is killed loses nothing; at the end (finished,
/// cancelled or failed) everything is in `run.json`, a pipeline that can be run again.
class RunFolder {
 public:
  /// Opens the folder, makes it when missing, and reads what an earlier run left.
  /// @param fingerprint  of everything that decides the samples; an earlier run with another one is not continued.
  /// @param overwrite    forget an earlier run with another fingerprint instead of refusing.
  /// @throws DataError when the folder holds another run's results, RuntimeError when it cannot be written or another
  /// process is writing to it.
  RunFolder(std::filesystem::path folder, std::string fingerprint, bool overwrite);

  const std::filesystem::path& path() const { return folder_; }

  /// Whether an earlier run with this fingerprint worked here.
  bool continued() const { return continued_; }

  /// Marks the folder as this run's, from when on a later one continues it. @throws RuntimeError when it cannot be
  /// written.
  void start();

  /// Whether the sample is there: recorded, and its files have the recorded sizes and hashes.
  bool finished(const std::string& sample) const;

  /// Whether no sample has been recorded.
  bool empty() const { return samples_.empty(); }

  /// Adds one finished sample, {"files": {relative path: sha256}, facts...}; its files are already in place.
  void add(const std::string& sample, const Json& record);
  /// Writes run.json from `manifest` (samples and status are filled in) and removes the journal.
  void close(const Json& manifest, bool complete);
  /// Forgets a run that failed before it finished a sample: removes the journal, and the folder when it was made here
  /// and nothing is in it.
  void discard();

 private:
  void read_manifest(bool overwrite);
  void read_journal(bool overwrite);
  void forget_other_run(bool overwrite) const;
  void remember(const Json& sample);

  std::filesystem::path folder_;
  std::string fingerprint_;
  std::map<std::string, std::shared_ptr<const Json>> samples_;
  bool continued_ = false;
  bool made_;
  FolderLock lock_;
};

/// "2026-11-22T05:24:09Z"
std::string utc_now();

}  // namespace medgen
