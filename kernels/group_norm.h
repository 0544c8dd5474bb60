// SPDX-License-Identifier: Apache-2.0
// Group normalisation in two passes. The first sums every channel of every plane; whoever holds the sums of all planes,
// wherever those lie, makes of them a factor and an offset for each channel; the second applies these and SiLU. So the
// statistics are those of the whole volume, however it is cut.
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// Adds each plane's sums and sums of squares, [plane][channel], in double. A plane is summed in one order on one
/// device, whatever the threads.
template <typename T>
struct ChannelSums {
  Planes<const T> x;
  double* sums;
  double* squares;

  /// Adds one value, to where the sums of this channel are gathered.
  MEDGEN_KERNEL void operator()(std::int64_t voxel, std::int64_t channel, double* sum, double* square) const {
    const double value = load(x.data[voxel * x.channels + channel]);
    *sum += value;
    *square += value * value;
  }
};

/// y = silu(factor x + offset) with one factor and offset for each channel, or without SiLU; y may be x.
template <typename T, bool kSilu>
struct Normalize {
  Planes<const T> x;
  const float* factor;
  const float* offset;
  T* y;

  struct Voxel {
    const T* x;
    const float* factor;
    const float* offset;
    T* y;

    MEDGEN_KERNEL void operator()(std::int64_t channel) const {
      const float value = load(x[channel]) * factor[channel] + offset[channel];
      store(kSilu ? silu(value) : value, y + channel);
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return x.voxels(); }

  MEDGEN_KERNEL std::int64_t length() const { return x.channels; }

  MEDGEN_KERNEL Voxel line(std::int64_t voxel) const {
    return {x.data + voxel * x.channels, factor, offset, y + voxel * x.channels};
  }
};

}  // namespace medgen::kernels
