// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

namespace medgen {

/// How many elements of a floating-point tensor are NaN or infinite; none of an integer one. One pass over the memory.
std::int64_t count_non_finite(const Tensor& tensor);

/// Whether all elements are the same to the bit; not of an empty tensor. One pass over the memory.
bool is_constant(const Tensor& tensor);

}  // namespace medgen
