// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace medgen {

/// The right to write into a folder, for one process (and one object) at a time, or, shared, for several that know of
/// each other. It ends with this object or with the
/// process, however that ends, and leaves no file behind. On file systems without locks it excludes nobody.
class FolderLock {
 public:
  /// @param path  the folder, or a file that stands for a part of the right.
  /// @throws RuntimeError when another run holds it.
  explicit FolderLock(const std::filesystem::path& path, bool shared = false);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// Gives a shared right up, then takes the whole one if nobody else has any. Of several that do this one after the
  /// other, the last succeeds.
  bool take_whole();

 private:
  int descriptor_;
};

}  // namespace medgen
