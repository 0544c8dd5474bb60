// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/large_memory.h"

#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>

#include <sys/mman.h>
#include <algorithm>

namespace medgen::nn {

at::Tensor large_array(at::IntArrayRef shape, at::ScalarType dtype) {
  const auto numbers = static_cast<std::size_t>(c10::multiply_integers(shape));
  const std::size_t bytes =
      (std::max<std::size_t>(numbers, 1) * c10::elementSize(dtype) + kLargePage - 1) / kLargePage * kLargePage;
  void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK_WITH(OutOfMemoryError, address != MAP_FAILED, "not enough memory for an array of ", bytes, " bytes");
  ::madvise(address, bytes, MADV_HUGEPAGE);
  return at::from_blob(
      address, shape, [bytes](void* memory) { ::munmap(memory, bytes); }, at::TensorOptions().dtype(dtype));
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
