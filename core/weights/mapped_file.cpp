// SPDX-License-Identifier: Apache-2.0
#include "core/weights/mapped_file.h"

#include "core/base/error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace medgen {
namespace {

struct Descriptor {
  int value;

  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};

  struct stat info {};

  if (file.value < 0 || ::fstat(file.value, &info) != 0) {
    throw DataError("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) throw DataError("{}: is not a regular file", path.string());
  const auto size = static_cast<std::size_t>(info.st_size);
  const std::shared_ptr<MappedFile> mapped(new MappedFile(path));
  if (size == 0) return mapped;
  void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (memory == MAP_FAILED) throw DataError("{}: cannot be mapped: {}", path.string(), std::strerror(errno));
  mapped->bytes_ = {static_cast<const std::byte*>(memory), size};
  return mapped;
}

std::shared_ptr<const MappedFile> MappedFile::of_bytes(std::string_view contents, const std::filesystem::path& name) {
  const std::shared_ptr<MappedFile> file(new MappedFile(name));
  const auto bytes = std::as_bytes(std::span(contents));
  file->memory_.assign(bytes.begin(), bytes.end());
  file->bytes_ = file->memory_;
  return file;
}

void MappedFile::drop_pages() const noexcept {
  if (!memory_.empty() || bytes_.empty()) return;
  ::madvise(const_cast<std::byte*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (memory_.empty() && !bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace medgen
