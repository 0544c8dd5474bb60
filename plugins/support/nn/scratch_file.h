// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

namespace medgen::nn {

/// A file without a name, gone when it is closed or the process dies. Places that were never written read as zeros.
/// Thread: any, for places that do not overlap. Errors are c10::Error and name the folder.
class ScratchFile {
 public:
  explicit ScratchFile(std::filesystem::path folder);
  ~ScratchFile();
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  /// Whether it takes memory, not a disk (tmpfs).
  bool lies_in_memory() const;
  /// Takes room on the disk, so that it does not fill up later.
  void reserve(std::int64_t offset, std::int64_t bytes);
  void read(std::int64_t offset, void* data, std::int64_t bytes) const;
  void write(std::int64_t offset, const void* data, std::int64_t bytes);
  /// Gives the room of a place back.
  void discard(std::int64_t offset, std::int64_t bytes);

 private:
  std::filesystem::path folder_;
  int file_;
};

}  // namespace medgen::nn
