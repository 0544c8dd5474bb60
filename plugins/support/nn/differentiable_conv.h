// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// Whether differentiable_conv takes x: bfloat16 on the CPU, gradients are wanted, and either the processor multiplies
/// bfloat16 (has_conv_gradient) or wide_conv is the way.
bool can_differentiate_conv(const at::Tensor& x);

/// Whether it takes x of float32: on the CPU, gradients are wanted, and wide_conv is the way.
bool can_differentiate_exact_conv(const at::Tensor& x);

/// Whether differentiable_doubling_conv takes x: the former.
bool can_differentiate_doubling_conv(const at::Tensor& x);

/// The convolution of x with a kernel of 3, stride 1 and padding 1 under autograd, in the type of x. weight and bias
/// (or an undefined one) are float32, and so are their gradients, which are never rounded to the type of x.
at::Tensor differentiable_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// differentiable_conv(upsample_nearest_2x(x), weight, bias) as one transposed convolution of kernel 4, see
/// Conv::forward_upsampled.
at::Tensor differentiable_doubling_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// The kernel of 4 of that transposed convolution: (out, in, 3, ...) -> (in, out, 4, ...).
at::Tensor doubling_kernel(const at::Tensor& weight);

}  // namespace medgen::nn
