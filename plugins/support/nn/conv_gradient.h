// SPDX-License-Identifier: Apache-2.0
// Gradients of the weights of convolutions of kernel 3 in bfloat16, as matrix products over runs of voxels with float32
// results. oneDNN's own take up to twice as long, ten times for few voxels of many channels, round to bfloat16, and in
// LibTorch 2.15 read beyond their arrays where an axis is shorter than the kernel.
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// Whether these take x: bfloat16 on the CPU, (N, C, H, W) or (N, C, D, H, W), where the processor has products for it.
bool has_conv_gradient(const at::Tensor& x);

/// Of y = convolution of x with a kernel of 3, stride 1 and padding 1: x (N, in, ...), dy (N, out, ...) -> (out, in, 3,
/// ...) float32, channels-last. The same to the bit for any number of threads.
at::Tensor conv_weight_gradient(const at::Tensor& x, const at::Tensor& dy);

/// Of y = transposed convolution of x with a kernel of 4, stride 2 and padding 1: dy (N, out, ...) has twice the
/// lengths of x (N, in, ...) -> (out, in, 4, ...) float32, channels-last.
at::Tensor doubling_weight_gradient(const at::Tensor& x, const at::Tensor& dy);

}  // namespace medgen::nn
