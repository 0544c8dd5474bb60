// SPDX-License-Identifier: Apache-2.0
// The kernels on tensors of (planes, rows, columns, channels), float32 or bfloat16, contiguous, on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace medgen::nn {

/// Adds the sums of each plane's channels: [plane][channel].
void channel_sums(const at::Tensor& x, double* sum, double* squares);

/// silu(factor x + offset) into `y` of the same type and form; factor and offset have one float for each channel.
void normalize(const at::Tensor& x, const float* factor, const float* offset, bool with_silu, const at::Tensor& y);

/// Planes [first_result, first_result + y.size(0)) of the volume of `all_planes` planes doubled along every axis, of
/// which `x` holds those from `first_plane` on.
void upsample_linear(const at::Tensor& x, std::int64_t first_plane, std::int64_t all_planes, std::int64_t first_result,
                     const at::Tensor& y);

/// A feature map (1, channels, planes, rows, columns) or (1, channels, planes, columns) that is channels-last in
/// memory, as (planes, rows, columns, channels), sharing memory.
at::Tensor as_planes(const at::Tensor& x);

/// Whether the kernels can read it: on the CPU, float32 or bfloat16, channels-last.
bool has_planes(const at::Tensor& x);

}  // namespace medgen::nn
