// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

// Operators without parameters. x is (N, C, H, W) or (N, C, D, H, W); results keep its type and memory format.

namespace medgen::nn {

/// What an operation leaves in the array that it is given for its result.
enum class Result : uint8_t { Replace, Add };

/// The planes of a feature map: how many axes it has, rank 3 or 2, and the last two.
struct PlaneForm {
  int64_t rank, rows, columns;
};

PlaneForm plane_form(const at::Tensor& x);

/// The channels-last order of memory for x.
at::MemoryFormat channels_last_format(const at::Tensor& x);

/// x * sigmoid(x), in the memory of x: give it a tensor nobody else holds.
at::Tensor silu(at::Tensor x);

/// Doubles every spatial axis by repeating voxels.
at::Tensor upsample_nearest_2x(const at::Tensor& x);

/// Doubles every spatial axis by (bi- or tri-)linear interpolation, corners not aligned.
at::Tensor upsample_linear_2x(const at::Tensor& x);

/// Halves every spatial axis by means of 2 x 2 (x 2) voxels; a last odd voxel is dropped, an axis of one refused.
at::Tensor average_pool_2x(const at::Tensor& x);

/// Appends one zero at the end of every spatial axis.
at::Tensor pad_end(const at::Tensor& x);

/// Dense in channels-last order, copied only when it is not.
at::Tensor channels_last(const at::Tensor& x);

/// An array for `channels` channels on the voxels of x, channels-last.
at::Tensor empty_map(const at::Tensor& x, int64_t channels, at::ScalarType dtype);

/// x in memory that nobody else holds, channels-last.
at::Tensor copy_of(const at::Tensor& x);

/// y + x, of the type that both have room in, in the memory of y where that is its own: give it a y nobody else holds.
at::Tensor with_residual(const at::Tensor& y, const at::Tensor& x);

/// The channels of a, then those of b, channels-last where no gradients are wanted.
at::Tensor join_channels(const at::Tensor& a, const at::Tensor& b);

/// (out, kernel^rank, in) as the weights of a convolution, (out, in, kernel, ...), channels-last; shares memory.
at::Tensor as_weights(const at::Tensor& taps, int64_t rank, int64_t kernel = 3);

/// For operators that want an optional: none when `tensor` is undefined.
std::optional<at::Tensor> given(const at::Tensor& tensor);

/// (N, C, spatial...) -> (N, L, C) with L in row-major order; no copy when x is channels-last.
at::Tensor to_tokens(const at::Tensor& x);

/// The inverse of to_tokens for the spatial shape of `like`; the result is channels-last.
at::Tensor from_tokens(const at::Tensor& tokens, const at::Tensor& like);

/// Sinusoids of timesteps (N), cosines first: (N, dim) float32, cos(t w_i), sin(t w_i), w_i = 10000^(-i / (dim/2)).
/// An odd dim ends with a zero. Source: Ho et al. 2020 as in MONAI 1.6.1.
at::Tensor timestep_embedding(const at::Tensor& timesteps, int64_t dim);

}  // namespace medgen::nn
