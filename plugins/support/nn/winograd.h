// SPDX-License-Identifier: Apache-2.0
// Convolutions of kernel 3 by Winograd's minimal filtering (kernels/winograd.h): tiles of the rows and columns are
// transformed, planes are summed as they are. A quarter of the multiplications, in float32 whatever the type of the
// feature maps, and rounded once.
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// Whether winograd_conv takes x (N, in, H, W) or (N, in, D, H, W) and is the fastest way to convolve it in precision
/// `products`: on the CPU, float32 or bfloat16, large enough planes, and no faster unit for bfloat16 (AMX). It does not
/// hang on D.
bool prefers_winograd(const at::Tensor& x, at::ScalarType products);

/// What winograd_conv leaves in `y`.
enum class Result : uint8_t { Replace, Add };

/// y = convolution of x + bias, or y += that: kernel 3, stride 1, padding 1, on the first of three axes `first_padding`
/// (0 or 1). x and y are channels-last, float32 or bfloat16 each; `weight` (out, in, 3, ...) of any of these types and
/// order; `bias` (out) float32 or bfloat16, or undefined. A plane's numbers are the same to the bit whatever other
/// planes are made with it, and for any number of threads.
void winograd_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result = Result::Replace);

/// Bytes that it takes besides x and y, on `threads` threads; those of the weights are kept for the next call.
int64_t winograd_memory(int64_t in, int64_t out, int64_t threads);

}  // namespace medgen::nn
