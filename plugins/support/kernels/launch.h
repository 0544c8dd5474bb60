// SPDX-License-Identifier: Apache-2.0
// The kernels on the CPU, spread over LibTorch's threads, in vector code for the processor at hand. Results do not
// depend on the number of threads or on the instruction set.
#pragma once

#include "plugins/support/kernels/activations.h"

#include <span>

namespace medgen::kernels {

/// Adds each plane's channel sums: sums[plane][channel], squares likewise.
void channel_sums(const Planes<const float>& x, double* sums, double* squares);
void channel_sums(const Planes<const Bf16>& x, double* sums, double* squares);

/// y = silu(factor x + offset) voxel by voxel (without SiLU when `with_silu` is false); y may be x.
void normalize(const Planes<const float>& x, const float* factor, const float* offset, bool with_silu, float* y);
void normalize(const Planes<const Bf16>& x, const float* factor, const float* offset, bool with_silu, Bf16* y);

/// `planes` planes of the volume at twice the size, from `first_result` on: see UpsampleLinear.
void upsample_linear(const Planes<const float>& x, std::int64_t first_plane, std::int64_t all_planes,
                     std::int64_t first_result, std::int64_t planes, float* y);
void upsample_linear(const Planes<const Bf16>& x, std::int64_t first_plane, std::int64_t all_planes,
                     std::int64_t first_result, std::int64_t planes, Bf16* y);

}  // namespace medgen::kernels
