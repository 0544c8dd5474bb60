// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/spare_pages.h"

#include "plugins/support/nn/large_memory.h"

#include <c10/util/Exception.h>

#include <sys/mman.h>
#include <algorithm>
#include <cstdint>

namespace medgen::nn {
namespace {

constexpr int kPrivate = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

/// Addresses for so many bytes, a multiple of kLargePage, to which a large page can move as a whole; null: none.
std::byte* reserve(std::size_t bytes) {
  void* const all = ::mmap(nullptr, bytes + kLargePage, PROT_NONE, kPrivate, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  auto* const from = static_cast<std::byte*>(all);
  const std::size_t before = (kLargePage - reinterpret_cast<std::uintptr_t>(all) % kLargePage) % kLargePage;
  if (before > 0) ::munmap(from, before);
  ::munmap(from + before + bytes, kLargePage - before);
  return from + before;
}

bool move(std::byte* from, std::size_t bytes, std::byte* to, int flags = 0) {
  return ::mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) != MAP_FAILED;
}

}  // namespace

SparePages::~SparePages() {
  shrink(0);
}

void SparePages::keep(std::byte* from, std::size_t bytes) {
  if (bytes == 0) return;
  std::byte* const place = reserve(bytes);
  if (place != nullptr && move(from, bytes, place, MREMAP_DONTUNMAP)) {
    ranges_.push_back({place, bytes});
    bytes_ += bytes;
    return;
  }
  if (place != nullptr) ::munmap(place, bytes);
  if (bytes > kLargePage) {  // pages that came from several places do not move together
    const std::size_t half = bytes / kLargePage / 2 * kLargePage;
    keep(from, half);
    keep(from + half, bytes - half);
    return;
  }
  ::madvise(from, bytes, MADV_DONTNEED);
}

void SparePages::lend(std::byte* to, std::size_t bytes) {
  while (bytes > 0 && !ranges_.empty()) {
    Range& last = ranges_.back();
    const std::size_t part = std::min(bytes, last.bytes);
    last.bytes -= part;
    bytes_ -= part;
    std::byte* const from = last.address + last.bytes;
    if (last.bytes == 0) ranges_.pop_back();
    if (!move(from, part, to)) {  // nothing may be left at `to`
      ::munmap(from, part);
      const void* const fresh = ::mmap(to, part, PROT_READ | PROT_WRITE, kPrivate | MAP_FIXED, -1, 0);
      TORCH_CHECK_WITH(OutOfMemoryError, fresh != MAP_FAILED, "not enough memory for an array of ", part, " bytes");
    }
    to += part;
    bytes -= part;
  }
}

void SparePages::shrink(std::size_t bytes) {
  bytes = bytes / kLargePage * kLargePage;
  while (bytes_ > bytes) {
    Range& last = ranges_.back();
    const std::size_t part = std::min(bytes_ - bytes, last.bytes);
    last.bytes -= part;
    bytes_ -= part;
    ::munmap(last.address + last.bytes, part);
    if (last.bytes == 0) ranges_.pop_back();
  }
}

}  // namespace medgen::nn
