// SPDX-License-Identifier: Apache-2.0
// Convolutions of kernel 3 by Winograd's minimal filtering, in float32 whatever the type of the feature maps, and
// rounded once. Of large planes of volumes, cubes of 4 x 4 x 4 results are transformed (kernels/winograd_cubes.h): an
// eighth of the multiplications. Else tiles of the rows and columns are (kernels/winograd.h), and planes are summed as
// they are: a quarter.
#pragma once

#include "plugins/support/nn/ops.h"

namespace medgen::nn {

/// Whether a quarter of the products, in float32, are faster on this CPU than all of them in precision `products`: no
/// unit of it is faster for bfloat16 (AMX).
bool prefers_float(at::ScalarType products);

/// Whether winograd_conv is the fastest way to convolve maps of such planes in precision `products`, on the CPU:
/// prefers_float, and they are large enough. It does not hang on the number of planes.
bool prefers_winograd(const PlaneForm& planes, at::ScalarType products);

/// Whether it filters cubes of so many planes rather than each plane.
bool filters_cubes(const PlaneForm& planes);
inline constexpr int64_t kCubePlanes = 4;

/// y = convolution of x + bias, or y += that: kernel 3, stride 1, padding 1, on the first of three axes `first_padding`
/// (0 or 1). x (N, in, H, W) or (N, in, D, H, W) and y are channels-last on the CPU, float32 or bfloat16 each; `weight`
/// (out, in, 3, ...) of any of these types and order; `bias` (out) float32 or bfloat16, or undefined. A plane's numbers
/// are the same to the bit whatever other planes are made with it, and for any number of threads. Where cubes are
/// filtered, slabs of the volume are cut at multiples of kCubePlanes for that.
void winograd_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
                   const at::Tensor& y, Result result = Result::Replace);

/// Of y = convolution of x with padding 1: dy (N, out, ...) -> the gradient of x (N, in, ...), channels-last, in the
/// type of dy.
at::Tensor winograd_input_gradient(const at::Tensor& dy, const at::Tensor& weight);

/// Of the same: the gradient of the weights (out, in, 3, ...), float32, channels-last, from x
/// (N, in, ...) and dy (N, out, ...). The same to the bit for any number of threads.
at::Tensor winograd_weight_gradient(const at::Tensor& x, const at::Tensor& dy);

/// Whether that is the fastest way for maps of such planes, on the CPU, where products are of that type.
bool prefers_winograd_gradient(const PlaneForm& planes, at::ScalarType products);

/// Bytes that this takes besides x, dy and its result.
int64_t winograd_gradient_memory(int64_t rank, int64_t in, int64_t out);

/// Bytes that winograd_conv takes besides x and y, and keeps for the next call.
int64_t winograd_memory(const PlaneForm& planes, int64_t in, int64_t out);

/// Gives back the weights that it keeps for the next call, which may be those of a larger network. Thread: any.
void release_transformed_weights();

/// Bytes that stay of a layer whose result has so many voxels, where a network keeps weights (nn/kept_weights.h).
int64_t winograd_kept_memory(const PlaneForm& planes, int64_t voxels, int64_t in, int64_t out);

}  // namespace medgen::nn
