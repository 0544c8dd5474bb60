// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace medgen {

/// The right to write into a folder, for one process (and one object) at a time. It ends with this object or with the
/// process, however that ends, and leaves no file behind. On file systems without locks it excludes nobody.
class FolderLock {
 public:
  /// @throws RuntimeError when another run holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace medgen
