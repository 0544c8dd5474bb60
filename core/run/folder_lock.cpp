// SPDX-License-Identifier: Apache-2.0
#include "core/run/folder_lock.h"

#include "core/base/error.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <cerrno>

namespace medgen {

FolderLock::FolderLock(const std::filesystem::path& path, bool shared)
    : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  const int operation = (shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
  if (descriptor_ < 0 || ::flock(descriptor_, operation) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw RuntimeError("another run is writing to '{}'; wait until it has finished, or choose another folder",
                     path.string());
}

bool FolderLock::take_whole() {
  if (descriptor_ < 0) return true;
  ::flock(descriptor_, LOCK_UN);
  return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

FolderLock::~FolderLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace medgen
