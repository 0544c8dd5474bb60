// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace medgen {

/// What an entry is made of: the contents of the files and the text of everything that is done to them, not their names
/// or times. A DICOM series counts with all files of its folder. @throws DataError for a file that cannot be read.
std::string cache_key(std::span<const std::filesystem::path> files, std::string_view preprocessing);

/// Preprocessed cases on disk, for any number of processes and threads at a time. An entry appears completely or not at
/// all and carries a checksum: what is damaged is made again. When the folder grows beyond its limit, the entries that
/// were not used for longest go first. Nothing that goes wrong with the cache stops the work: then it only warns.
class CaseCache {
 public:
  using Make = std::function<TensorMap()>;
  using Warn = std::function<void(const std::string& message)>;

  /// @param max_bytes  of all entries together. @throws RuntimeError when the folder cannot be made.
  CaseCache(std::filesystem::path folder, std::uint64_t max_bytes, Warn warn = {});

  /// The entry, from the disk or from `make`; its tensors may be read-only memory. @param key  of `cache_key`.
  /// Throws what `make` throws; nothing is kept then.
  TensorMap get(const std::string& key, const Make& make);

 private:
  std::filesystem::path file_of(const std::string& key) const;
  void store(const std::filesystem::path& file, const TensorMap& tensors);
  void trim();
  void warn(const std::string& message);

  std::filesystem::path folder_;
  std::uint64_t max_bytes_;
  Warn warn_;
  std::mutex mutex_;  ///< of trim and warn
};

}  // namespace medgen
