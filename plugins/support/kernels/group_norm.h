// SPDX-License-Identifier: Apache-2.0
// Group normalisation in two passes. The first sums every channel of every plane; whoever holds the sums of all planes,
// wherever those lie, makes of them a factor and an offset for each channel; the second applies these and SiLU. So the
// statistics are those of the whole volume, however it is cut.
#pragma once

#include "plugins/support/kernels/activations.h"

namespace medgen::kernels {

/// Sum and sum of squares of the channels [0, channels) over some voxels, in double.
template <typename T>
struct ChannelSums {
  const T* x;
  std::int64_t channels;

  MEDGEN_HD void operator()(std::int64_t voxel, std::int64_t channel, double* sum, double* squares) const {
    const double value = load(x[voxel * channels + channel]);
    sum[channel] += value;
    squares[channel] += value * value;
  }
};

/// y = silu(factor x + offset), or without SiLU.
template <typename T, bool kSilu>
struct Normalize {
  const T* x;
  T* y;
  const float* factor;
  const float* offset;
  std::int64_t channels;

  MEDGEN_HD void operator()(std::int64_t voxel, std::int64_t channel) const {
    const std::int64_t i = voxel * channels + channel;
    const float value = load(x[i]) * factor[channel] + offset[channel];
    store(kSilu ? silu(value) : value, y + i);
  }
};

}  // namespace medgen::kernels
