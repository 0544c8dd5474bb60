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

/// An array for the result of a layer. A pass makes the same ones again and again, and the kernel would clear every
/// page of each: what is freed is kept for the next of its size, as long as used and kept arrays together take no more
/// than used ones once did. Small ones are LibTorch's. Thread: any.
/// @throws c10::OutOfMemoryError
at::Tensor kept_array(at::IntArrayRef shape, at::ScalarType dtype);

/// Gives back the memory that is kept and not used: for what comes after passes of a network.
void release_kept_arrays();

/// Memory of this thread for so many numbers, kept from call to call; the next call gives the same.
float* kept_memory(std::int64_t numbers);

}  // namespace medgen::nn
