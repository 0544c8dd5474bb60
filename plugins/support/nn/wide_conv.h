// SPDX-License-Identifier: Apache-2.0
// Convolutions of kernel 3 by our own products, whatever the type of the feature maps: on large planes filtered
// (winograd.h), on small maps gathered (gathered_conv.h). Maps are read and written as they lie, sums are float32 and
// rounded once.
#pragma once

#include "plugins/support/nn/ops.h"

namespace medgen::nn {

/// With gradients weights change from step to step, so that no copy of them in another order is worth keeping.
enum class Pass : uint8_t { Inference, Training };

/// Whether a map of so many voxels is small enough to be gathered, in precision `products`.
bool prefers_gathered(int64_t voxels, at::ScalarType products, Pass pass);

/// Whether wide_conv is the fastest way to convolve x in precision `products`. How many samples x has is not asked.
bool prefers_wide_conv(const at::Tensor& x, at::ScalarType products, Pass pass);

/// As winograd_conv, and as gathered_conv of `products`.
void wide_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
               const at::Tensor& y, Result result, at::ScalarType products);

/// As winograd_input_gradient.
at::Tensor wide_input_gradient(const at::Tensor& dy, const at::Tensor& weight);

/// As winograd_weight_gradient.
at::Tensor wide_weight_gradient(const at::Tensor& x, const at::Tensor& dy);

/// The most bytes that wide_conv takes besides maps of such planes and so many voxels, and partly keeps.
int64_t wide_conv_memory(const PlaneForm& planes, int64_t voxels, int64_t in, int64_t out);

/// The same for a convolution and its gradients in precision `products`, whatever the planes.
int64_t wide_training_memory(int64_t rank, int64_t voxels, int64_t in, int64_t out, at::ScalarType products);

}  // namespace medgen::nn
