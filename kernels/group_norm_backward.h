// SPDX-License-Identifier: Apache-2.0
// The gradients of group normalisation with SiLU, in two passes as forward: y = silu(u), u = factor x + offset. The
// first pass sums, for every channel of every plane, du and du (x - center), center being where u = bias; of these sums
// come the gradients of gain and bias, and three numbers for each channel with which the second pass makes
// dx = a du + b (x - center) + c. Nothing is kept from the forward pass but x: exp is cheaper than memory.
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// What the way to y did to each channel, and the gradient that came back.
template <typename T, bool kSilu>
struct NormBackward {
  const T* x;
  const T* dy;
  const float* factor;
  const float* offset;
  const float* center;

  struct Slope {
    float du;
    float distance;  ///< x - center
  };

  MEDGEN_KERNEL Slope operator()(std::int64_t i, std::int64_t channel) const {
    const float value = load(x[i]);
    const float dyi = load(dy[i]);
    const float distance = value - center[channel];
    if (!kSilu) return {dyi, distance};
    const float u = value * factor[channel] + offset[channel];
    const float sigmoid = 1.0F / (1.0F + exponential(-u));
    return {dyi * sigmoid * (1.0F + u * (1.0F - sigmoid)), distance};
  }
};

/// Adds each plane's sums of du and of du (x - center), [plane][channel], in double: as ChannelSums.
template <typename T, bool kSilu>
struct NormBackwardSums {
  Planes<const T> x;
  NormBackward<T, kSilu> slope;
  double* sums;
  double* squares;  ///< of du (x - center)

  MEDGEN_KERNEL void operator()(std::int64_t voxel, std::int64_t channel, double* sum, double* square) const {
    const auto at = slope(voxel * x.channels + channel, channel);
    *sum += at.du;
    *square += at.du * at.distance;
  }
};

/// dx = a du + b (x - center) + c, with a number of each for every channel.
template <typename T, bool kSilu>
struct NormBackwardInput {
  Planes<const T> x;
  NormBackward<T, kSilu> slope;
  const float* a;
  const float* b;
  const float* c;
  T* dx;

  struct Voxel {
    const NormBackwardInput& of;
    std::int64_t first;

    MEDGEN_KERNEL void operator()(std::int64_t channel) const {
      const auto at = of.slope(first + channel, channel);
      store(of.a[channel] * at.du + of.b[channel] * at.distance + of.c[channel], of.dx + first + channel);
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return x.voxels(); }

  MEDGEN_KERNEL std::int64_t length() const { return x.channels; }

  MEDGEN_KERNEL Voxel line(std::int64_t voxel) const { return {*this, voxel * x.channels}; }
};

}  // namespace medgen::kernels
