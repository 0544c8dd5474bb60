// SPDX-License-Identifier: Apache-2.0
// Group normalisation in two passes. The first sums every channel of every plane; whoever holds the sums of all planes,
// wherever those lie, makes of them a factor and an offset for each channel; the second applies these and SiLU. So the
// statistics are those of the whole volume, however it is cut.
#pragma once

#include "kernels/planes.h"

#include <cmath>

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

/// Adds the sums of the planes, in their order: total[channel].
struct PlaneTotals {
  const double* of_planes;  // [plane][channel]
  std::int64_t planes, channels;
  double* total;

  MEDGEN_KERNEL std::int64_t size() const { return channels; }

  template <int N>
  MEDGEN_KERNEL void run(std::int64_t first) const {
    for (int i = 0; i < N; ++i) total[first + i] = 0;
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      for (int i = 0; i < N; ++i) total[first + i] += of_planes[plane * channels + first + i];
    }
  }
};

/// Mean and 1 / sqrt(variance + eps) of a group of channels.
struct GroupMoments {
  double mean, scale;
};

/// From the sums of every channel over `voxels` voxels to the factor and the offset of each for Normalize; with
/// `shift`, of x + shift.
struct GroupAffine {
  const double* sum = nullptr;
  const double* square = nullptr;
  std::int64_t channels = 0, per_group = 1, voxels = 0;
  double eps = 0;
  const float* shift = nullptr;  ///< or none
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* factor = nullptr;
  float* offset = nullptr;

  MEDGEN_KERNEL double shift_of(std::int64_t channel) const { return shift == nullptr ? 0.0 : shift[channel]; }

  /// Of the group that begins with channel `first`.
  MEDGEN_KERNEL GroupMoments moments(std::int64_t first) const {
    const double n = static_cast<double>(voxels);
    double all = 0, squares = 0;
    for (std::int64_t c = first; c < first + per_group; ++c) {
      const double s = shift_of(c);
      all += sum[c] + n * s;
      squares += square[c] + 2 * s * sum[c] + n * s * s;
    }
    const double count = n * static_cast<double>(per_group);
    const double mean = all / count;
    const double variance = squares / count - mean * mean;
    return {mean, 1.0 / std::sqrt((variance > 0.0 ? variance : 0.0) + eps)};
  }

  MEDGEN_KERNEL std::int64_t size() const { return channels; }

  template <int N>
  MEDGEN_KERNEL void run(std::int64_t first) const {
    GroupMoments group{};
    for (std::int64_t c = first; c < first + N; ++c) {
      if (c == first || c % per_group == 0) group = moments(c - c % per_group);
      const double scaled = weight[c] * group.scale;
      factor[c] = static_cast<float>(scaled);
      offset[c] = static_cast<float>(bias[c] + (shift_of(c) - group.mean) * scaled);
    }
  }
};

/// y = silu(factor x + offset) with one factor and offset for each channel, or without SiLU; y, of type To, may be x.
template <typename T, bool kSilu, typename To = T>
struct Normalize {
  Planes<const T> x;
  const float* factor;
  const float* offset;
  To* y;

  struct Voxel {
    const T* x;
    const float* factor;
    const float* offset;
    To* y;

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
