// SPDX-License-Identifier: Apache-2.0
// Convolutions of kernel 3 by Winograd's minimal filtering (kernels/winograd.h): tiles of the rows and columns are
// transformed, planes are summed as they are. A quarter of the multiplications, in float32 whatever the type of the
// feature maps, and rounded once.
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// The planes of a feature map: how many axes it has, rank 3 or 2, and the last two.
struct PlaneForm {
  int64_t rank, rows, columns;
};

PlaneForm plane_form(const at::Tensor& x);

/// Whether winograd_conv is the fastest way to convolve maps of such planes in precision `products`, on the CPU: they
/// are large enough, and no unit is faster for bfloat16 (AMX). It does not hang on the number of planes.
bool prefers_winograd(const PlaneForm& planes, at::ScalarType products);

/// What winograd_conv leaves in `y`.
enum class Result : uint8_t { Replace, Add };

/// y = convolution of x + bias, or y += that: kernel 3, stride 1, padding 1, on the first of three axes `first_padding`
/// (0 or 1). x (N, in, H, W) or (N, in, D, H, W) and y are channels-last on the CPU, float32 or bfloat16 each; `weight`
/// (out, in, 3, ...) of any of these types and order; `bias` (out) float32 or bfloat16, or undefined. A plane's numbers
/// are the same to the bit whatever other planes are made with it, and for any number of threads.
void winograd_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result = Result::Replace);

/// Bytes that it takes besides x and y for a kernel of rank 3 or 2, and keeps for the next call.
int64_t winograd_memory(int64_t rank, int64_t in, int64_t out);

}  // namespace medgen::nn
