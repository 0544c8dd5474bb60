// SPDX-License-Identifier: Apache-2.0
// Convolutions of kernel 3 on small maps, and their gradients, as products of matrices: the neighbours of every voxel
// are gathered, and meet the weights as they lie in memory, which few voxels would not repay for being reordered. Sums
// are float32 whatever the type of the feature maps, and rounded once.
#pragma once

#include "plugins/support/nn/ops.h"

namespace medgen::nn {

/// The largest maps, in voxels, for which it is the fastest way.
inline constexpr int64_t kGatheredVoxels = 4096;

/// y = convolution of x + bias, or y += that: as winograd_conv, but `weight` is wanted channels-last, else it is
/// copied. `products` is what is multiplied: float32; or bfloat16, to which both are rounded then, where the processor
/// has products for it (nn/products.h) and channels are even in number on both sides, else it is float32 too.
void gathered_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result = Result::Replace, at::ScalarType products = at::kFloat);

/// Of y = convolution of x with padding 1: dy (N, out, ...) -> the gradient of x (N, in, ...), channels-last, in the
/// type of dy; multiplied as product_type has it. The same to the bit for any number of threads.
at::Tensor gathered_input_gradient(const at::Tensor& dy, const at::Tensor& weight);

/// Of the same: the gradient of the weights (out, in, 3, ...), float32, channels-last.
at::Tensor gathered_weight_gradient(const at::Tensor& x, const at::Tensor& dy);

/// Bytes that they take at most for a kernel of rank 3 or 2 on maps of `voxels` voxels, besides x and y.
int64_t gathered_memory(int64_t rank, int64_t in, int64_t out, int64_t voxels);

}  // namespace medgen::nn
