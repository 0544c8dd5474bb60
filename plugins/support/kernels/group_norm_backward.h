// SPDX-License-Identifier: Apache-2.0
// The gradients of group normalisation with SiLU, in two passes as forward: y = silu(u), u = factor x + offset. The
// first pass sums, for every channel of every plane, du and du (x - center), center being where u = bias; of these sums
// come the gradients of gain and bias, and three numbers for each channel with which the second pass makes
// dx = a du + b (x - center) + c. Nothing is kept from the forward pass but x: exp is cheaper than memory.
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// du from dy, SiLU's slope at u, or dy itself.
template <bool kSilu>
MEDGEN_KERNEL float through_silu(float dy, float u) {
  if (!kSilu) return dy;
  const float sigmoid = 1.0F / (1.0F + exponential(-u));
  return dy * sigmoid * (1.0F + u * (1.0F - sigmoid));
}

/// Sums of du and du (x - center) over some voxels, in float: few of them at a time.
template <typename T, bool kSilu>
struct NormGradientSums {
  const T* x;
  const T* dy;
  const float* factor;
  const float* offset;
  const float* center;
  std::int64_t channels;

  MEDGEN_KERNEL void operator()(std::int64_t voxel, std::int64_t channel, float* sum, float* moment) const {
    const std::int64_t i = voxel * channels + channel;
    const float value = load(x[i]);
    const float du = through_silu<kSilu>(load(dy[i]), value * factor[channel] + offset[channel]);
    sum[channel] += du;
    moment[channel] += du * (value - center[channel]);
  }
};

/// dx = a du + b (x - center) + c
template <typename T, bool kSilu>
struct NormGradient {
  const T* x;
  const T* dy;
  T* dx;
  const float* factor;
  const float* offset;
  const float* center;
  const float* a;
  const float* b;
  const float* c;
  std::int64_t channels;

  MEDGEN_KERNEL void operator()(std::int64_t voxel, std::int64_t channel) const {
    const std::int64_t i = voxel * channels + channel;
    const float value = load(x[i]);
    const float du = through_silu<kSilu>(load(dy[i]), value * factor[channel] + offset[channel]);
    store(a[channel] * du + b[channel] * (value - center[channel]) + c[channel], dx + i);
  }
};

}  // namespace medgen::kernels
