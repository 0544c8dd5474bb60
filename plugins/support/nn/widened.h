// SPDX-License-Identifier: Apache-2.0
// Layers under autograd on maps that the processor multiplies in float32 only (nn/products.h): maps are widened as they
// are needed, on both ways, and what is kept between stays narrow. Gradients of weights are never rounded.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace medgen::nn {

/// Whether a layer with `weight` takes x so: gradients are wanted, and x is narrow, the weight is not.
bool can_widen(const at::Tensor& x, const at::Tensor& weight);

struct ConvForm {
  std::vector<int64_t> stride, padding, output_padding;
  bool transposed = false;
};

/// The convolution of x in the type of x; `bias` may be undefined.
at::Tensor widened_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvForm& form);

/// As linear (nn/row_products.h), to the bit.
at::Tensor widened_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool many);

}  // namespace medgen::nn
