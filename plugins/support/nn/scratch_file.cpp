// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/scratch_file.h"

#include <c10/util/Exception.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace medgen::nn {
namespace {

int open_nameless(const std::filesystem::path& folder) {
  std::string name = (folder / "medgen-XXXXXX").string();
  const int file = ::mkostemp(name.data(), O_CLOEXEC);
  TORCH_CHECK(file >= 0, "no scratch file can be made in '", folder.string(), "': ", std::strerror(errno));
  ::unlink(name.c_str());
  return file;
}

/// All of `bytes`, in as many calls of `transfer` as it takes.
template <typename Byte, typename Transfer>
void transfer_all(const Transfer& transfer, Byte* data, std::int64_t bytes, std::int64_t offset, const char* what,
                  const std::filesystem::path& folder) {
  while (bytes > 0) {
    const ssize_t moved = transfer(data, static_cast<std::size_t>(bytes), offset);
    if (moved < 0 && errno == EINTR) continue;
    TORCH_CHECK(moved > 0, "a scratch file in '", folder.string(), "' cannot be ", what, ": ",
                moved < 0 ? std::strerror(errno) : "it ends early");
    data += moved;
    bytes -= moved;
    offset += moved;
  }
}

}  // namespace

ScratchFile::ScratchFile(std::filesystem::path folder) : folder_(std::move(folder)), file_(open_nameless(folder_)) {}

ScratchFile::~ScratchFile() {
  ::close(file_);
}

bool ScratchFile::lies_in_memory() const {
  struct statfs about {};

  return ::fstatfs(file_, &about) == 0 && about.f_type == TMPFS_MAGIC;
}

void ScratchFile::reserve(std::int64_t offset, std::int64_t bytes) {
  if (bytes == 0) return;
  const int error = ::posix_fallocate(file_, offset, bytes);
  TORCH_CHECK(error == 0, "there is no room for a scratch file of ", (offset + bytes) >> 20, " MiB in '",
              folder_.string(), "': ", std::strerror(error), "; set TMPDIR to a folder that has it");
}

void ScratchFile::read(std::int64_t offset, void* data, std::int64_t bytes) const {
  const auto read = [this](char* to, std::size_t count, std::int64_t at) { return ::pread(file_, to, count, at); };
  transfer_all(read, static_cast<char*>(data), bytes, offset, "read", folder_);
}

void ScratchFile::write(std::int64_t offset, const void* data, std::int64_t bytes) {
  const auto write = [this](const char* from, std::size_t count, std::int64_t at) {
    return ::pwrite(file_, from, count, at);
  };
  transfer_all(write, static_cast<const char*>(data), bytes, offset, "written", folder_);
}

void ScratchFile::discard(std::int64_t offset, std::int64_t bytes) {
  ::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
}

}  // namespace medgen::nn
