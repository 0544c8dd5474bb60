// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace medgen::nn {

/// The size of large pages. They spare most of the cost of memory that is touched for the first time, and of finding
/// what lies far apart.
inline constexpr std::uintptr_t kLargePage = 2 << 20;

/// An array on large pages where the system has them. Its pages come into being when they are written.
/// @throws c10::OutOfMemoryError
at::Tensor large_array(at::IntArrayRef shape, at::ScalarType dtype);

/// The same with strides, which leave no gaps.
at::Tensor large_array(at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType dtype);

/// While one lives, arrays for results of layers that this thread asks for take memory that is kept: a network that is
/// evaluated again and again makes the same ones each time, and the kernel would clear every page of each. What is
/// freed waits for the next that fits, as long as used and kept arrays together take no more than with_kept_bytes() of
/// what used ones once did.
class KeepArrays {
 public:
  KeepArrays();
  ~KeepArrays();
  KeepArrays(const KeepArrays&) = delete;
  KeepArrays& operator=(const KeepArrays&) = delete;
};

/// The most bytes that arrays take together, used and kept, when used ones take so many: a quarter more, for the gaps
/// between arrays of several sizes.
template <typename Bytes>
constexpr Bytes with_kept_bytes(Bytes used) {
  return used + used / 4;
}

/// An array for the result of a layer, on the CPU; strides leave no gaps. Small ones, and those of a thread that keeps
/// none, are LibTorch's.
/// @throws c10::OutOfMemoryError
at::Tensor result_array(at::IntArrayRef shape, at::IntArrayRef strides, at::ScalarType dtype);

/// The same, the last axis first in memory.
at::Tensor result_array(at::IntArrayRef shape, at::ScalarType dtype);

/// Gives back the memory that is kept and not used, what kept_memory keeps for this thread, and what the heap has of
/// freed blocks: for what comes after the evaluations. Thread: any, outside of products.
void release_kept_arrays();

/// Gives back what the heap has of freed blocks, such as lie between packed weights. Thread: any.
void release_freed_blocks();

/// Memory of this thread for so many numbers, kept from call to call; the next call gives the same.
float* kept_memory(std::int64_t numbers);

}  // namespace medgen::nn
