// SPDX-License-Identifier: Apache-2.0
// The kernels (kernels/) on tensors: on LibTorch's threads, or on the current stream of a CUDA device where they were
// built for it. Planes are (planes, rows, columns, channels), float32 or bfloat16, contiguous.
#pragma once

#include "kernels/launch.h"
#include "kernels/numeric.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <array>
#include <cstdint>

namespace medgen::nn {

/// The CPU, on as many threads as LibTorch uses.
kernels::Cpu on_torch_threads();

/// Whether the kernels know the type of x.
inline bool has_kernel_type(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
}

/// Calls `call` with a null pointer of the kernels' name for the type of x.
template <typename Call>
auto by_type(const at::Tensor& x, const Call& call) {
  if (x.scalar_type() == at::kFloat) return call(static_cast<float*>(nullptr));
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "float32 or bfloat16 is wanted, not ", x.scalar_type());
  return call(static_cast<kernels::Bf16*>(nullptr));
}

/// Adds the sums of each plane's channels: [plane][channel].
void channel_sums(const at::Tensor& x, double* sum, double* squares);

/// Doubles the planes x (planes, rows, columns, channels) along three axes by repeating voxels, into y.
void upsample_nearest(const at::Tensor& x, const at::Tensor& y);

/// Halves them by means of 2 x 2 x 2 voxels, into y; a last odd plane, row or column is left out.
void downsample_mean(const at::Tensor& x, const at::Tensor& y);

/// silu(factor x + offset) into `y` of the same form and type, or bfloat16; factor and offset have one float for each
/// channel.
void normalize(const at::Tensor& x, const float* factor, const float* offset, bool with_silu, const at::Tensor& y);

/// Group normalisation: its gains (C), float32 on the device of the feature map.
struct GroupGains {
  const at::Tensor& weight;
  const at::Tensor& bias;
  std::int64_t groups;
  double eps;
};

/// silu(norm(x + shift)) into `y` of the same type and form, or without SiLU; shift (C) float32 or undefined. On a
/// device nobody waits for it.
void group_normalize(const at::Tensor& x, const GroupGains& gains, const at::Tensor& shift, bool with_silu,
                     const at::Tensor& y);

/// What normalisation did to each channel: u = factor x + offset, which takes away factor times center; whether SiLU
/// came after it.
struct NormForward {
  const float* factor;
  const float* offset;
  const float* center;
  bool with_silu;
};

/// Adds the sums of each plane's channels of du and du (x - center), [plane][channel], where y = silu(u) was made by
/// `norm` and dy is the gradient of y.
void norm_gradient_sums(const at::Tensor& x, const at::Tensor& dy, const NormForward& norm, double* sum,
                        double* moments);

/// dx = a du + b (x - center) + c into `dx`; `abc` holds a, b and c one after another, a float for each channel.
void norm_gradient(const at::Tensor& x, const at::Tensor& dy, const NormForward& norm, const float* abc,
                   const at::Tensor& dx);

/// Planes [first_result, first_result + y.size(0)) of the volume of `all_planes` planes doubled along every axis, of
/// which `x` holds those from `first_plane` on.
void upsample_linear(const at::Tensor& x, std::int64_t first_plane, std::int64_t all_planes, std::int64_t first_result,
                     const at::Tensor& y);

/// How much each voxel of a window counts: the product of the weights of its place on the three axes (float32, on the
/// device of the sums), but not less than `smallest`.
struct BlendWeights {
  std::array<at::Tensor, 3> axis;
  float smallest = 0;
};

/// Adds weight x values (1, C, x, y, z) to `sum` (1, C, X, Y, Z), float32 and contiguous, from voxel `origin` on.
void blend_window(const at::Tensor& values, const BlendWeights& weights, std::array<std::int64_t, 3> origin,
                  const at::Tensor& sum);

/// Adds the weights themselves.
void blend_weights(const BlendWeights& weights, std::array<std::int64_t, 3> origin, const at::Tensor& sum);

/// A feature map (1, channels, planes, rows, columns) or (1, channels, planes, columns) that is channels-last in
/// memory, as (planes, rows, columns, channels), sharing memory.
at::Tensor as_planes(const at::Tensor& x);

/// Whether the kernels can read x: float32 or bfloat16, channels-last, and on a device that they were built for.
bool has_planes(const at::Tensor& x);

}  // namespace medgen::nn
