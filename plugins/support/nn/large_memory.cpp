// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/large_memory.h"

#include <ATen/ops/empty_strided.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>

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

/// Blocks of pages that are used, or kept for the next use. Thread: any.
class KeptBlocks {
 public:
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t used = used_bytes_ + bytes, most = std::max(most_used_, used);
    const auto found = kept_.find(bytes);
    void* address = nullptr;
    if (found != kept_.end()) {
      address = found->second;
      forget(found);
    } else {
      while (used + kept_bytes_ > most && !kept_.empty()) release(kept_.begin());
      address = map_pages(bytes);
    }
    used_bytes_ = used;
    most_used_ = most;
    return address;
  }

  void give_back(void* address, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    used_bytes_ -= bytes;
    kept_.emplace(bytes, address);
    kept_bytes_ += bytes;
  }

  void release_all() {
    const std::lock_guard lock(mutex_);
    while (!kept_.empty()) release(kept_.begin());
    most_used_ = used_bytes_;
  }

 private:
  using Kept = std::multimap<std::size_t, void*>;

  void forget(Kept::iterator block) {
    kept_bytes_ -= block->first;
    kept_.erase(block);
  }

  void release(Kept::iterator block) {
    ::munmap(block->second, block->first);
    forget(block);
  }

  std::mutex mutex_;
  Kept kept_;
  std::size_t used_bytes_ = 0, kept_bytes_ = 0, most_used_ = 0;
};

KeptBlocks& kept_blocks() {
  static auto& blocks = *new KeptBlocks;  // the last array may outlive what is destroyed at the end
  return blocks;
}

thread_local int keepers = 0;

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
  const auto give_back = [bytes](void* memory) { kept_blocks().give_back(memory, bytes); };
  return at::from_blob(kept_blocks().take(bytes), shape, strides, give_back, options);
}

void release_kept_arrays() {
  kept_blocks().release_all();
}

at::Tensor large_array(at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType dtype) {
  return large_array({c10::multiply_integers(shape)}, dtype).as_strided(shape, strides);
}

float* kept_memory(std::int64_t numbers) {
  thread_local at::Tensor memory;
  if (!memory.defined() || memory.numel() < numbers) {
    memory.reset();
    memory = large_array({numbers}, at::kFloat);
  }
  return memory.mutable_data_ptr<float>();
}

}  // namespace medgen::nn
