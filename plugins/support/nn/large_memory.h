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

/// Memory of this thread for so many numbers, kept from call to call; the next call gives the same.
float* kept_memory(std::int64_t numbers);

}  // namespace medgen::nn
