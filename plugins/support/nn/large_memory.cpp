// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/large_memory.h"

#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <c10/util/strides.h>

#include <malloc.h>
#include <sys/mman.h>
#include <algorithm>
#include <map>
#include <mutex>

namespace medgen::nn {
namespace {

constexpr std::size_t kLeastKept = std::size_t{1} << 20, kKeptPage = std::size_t{1} << 16;

/// In whole pages.
std::size_t bytes_of(at::IntArrayRef shape, at::ScalarType dtype, std::size_t page) {
  const auto numbers = static_cast<std::size_t>(c10::multiply_integers(shape));
  return (std::max<std::size_t>(numbers, 1) * c10::elementSize(dtype) + page - 1) / page * page;
}

void* map_pages(std::size_t bytes) {
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK_WITH(OutOfMemoryError, address != MAP_FAILED, "not enough memory for an array of ", bytes, " bytes");
  ::madvise(address, bytes, MADV_HUGEPAGE);
  return address;
}

/// Pages that are used, or kept for the next use; of those, neighbours are one range. Thread: any.
class KeptPages {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t used = used_bytes_ + bytes, most = std::max(most_used_, used);
    const auto found = smallest_of(bytes);
    if (found == kept_.end()) {
      while (used + kept_bytes_ > with_kept_bytes(most) && !kept_.empty()) release(kept_.begin());
    }
    void* const address = found == kept_.end() ? map_pages(bytes) : cut(found, bytes);
    used_bytes_ = used;
    most_used_ = most;
    return address;
  }

  void give_back(void* address, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    used_bytes_ -= bytes;
    kept_bytes_ += bytes;
    const auto range = kept_.emplace(static_cast<std::byte*>(address), bytes).first;
    join(range, std::next(range));
    if (range != kept_.begin()) join(std::prev(range), range);
  }

  void release_all() {
    const std::lock_guard lock(mutex_);
    while (!kept_.empty()) release(kept_.begin());
    most_used_ = used_bytes_;
  }

 private:
  using Ranges = std::map<std::byte*, std::size_t>;  // by address: bytes

  /// Of the ranges with room for so many bytes.
  Ranges::iterator smallest_of(std::size_t bytes) {
    auto found = kept_.end();
    for (auto range = kept_.begin(); range != kept_.end(); ++range) {
      if (range->second >= bytes && (found == kept_.end() || range->second < found->second)) found = range;
    }
    return found;
  }

  void* cut(Ranges::iterator range, std::size_t bytes) {
    const auto [address, size] = *range;
    kept_.erase(range);
    kept_bytes_ -= bytes;
    if (size > bytes) kept_.emplace(address + bytes, size - bytes);
    return address;
  }

  void join(Ranges::iterator first, Ranges::iterator second) {
    if (second == kept_.end() || first->first + first->second != second->first) return;
    first->second += second->second;
    kept_.erase(second);
  }

  void release(Ranges::iterator range) {
    ::munmap(range->first, range->second);
    kept_bytes_ -= range->second;
    kept_.erase(range);
  }

  std::mutex mutex_;
  Ranges kept_;
  std::size_t used_bytes_ = 0, kept_bytes_ = 0, most_used_ = 0;
};

KeptPages& kept_pages() {
  static auto& pages = *new KeptPages;  // the last array may outlive what is destroyed at the end
  return pages;
}

thread_local int keepers = 0;
thread_local at::Tensor memory_of_thread;

}  // namespace

at::Tensor large_array(at::IntArrayRef shape, at::ScalarType dtype) {
  const std::size_t bytes = bytes_of(shape, dtype, kLargePage);
  return at::from_blob(
      map_pages(bytes), shape, [bytes](void* memory) { ::munmap(memory, bytes); }, at::TensorOptions().dtype(dtype));
}

KeepArrays::KeepArrays() {
  ++keepers;
}

KeepArrays::~KeepArrays() {
  --keepers;
}

at::Tensor result_array(at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType dtype) {
  const at::TensorOptions options = at::TensorOptions().dtype(dtype);
  const std::size_t bytes = bytes_of(shape, dtype, kKeptPage);
  if (keepers == 0 || bytes < kLeastKept) return at::empty_strided(shape, strides, options);
  const auto give_back = [bytes](void* memory) { kept_pages().give_back(memory, bytes); };
  return at::from_blob(kept_pages().take(bytes), shape, strides, give_back, options);
}

at::Tensor result_array(at::IntArrayRef shape, at::ScalarType dtype) {
  return result_array(shape, c10::contiguous_strides(shape), dtype);
}

void release_kept_arrays() {
  memory_of_thread.reset();
  kept_pages().release_all();
  release_freed_blocks();
}

void release_freed_blocks() {
  ::malloc_trim(0);
}

at::Tensor large_array(at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType dtype) {
  return large_array({c10::multiply_integers(shape)}, dtype).as_strided(shape, strides);
}

float* kept_memory(std::int64_t numbers) {
  if (!memory_of_thread.defined() || memory_of_thread.numel() < numbers) {
    memory_of_thread.reset();
    memory_of_thread = large_array({numbers}, at::kFloat);
  }
  return memory_of_thread.mutable_data_ptr<float>();
}

}  // namespace medgen::nn
