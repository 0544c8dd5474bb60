// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// Some planes of a volume, and some of the volume at twice the length of every axis.
template <typename T>
struct Doubling {
  Planes<const T> x;         ///< from plane `first_plane` on
  std::int64_t first_plane;  ///< of `all_planes`
  std::int64_t all_planes;
  T* y;                       ///< as many channels, twice the rows and columns
  std::int64_t first_result;  ///< plane of the doubled volume
  std::int64_t planes;        ///< of y

  MEDGEN_KERNEL std::int64_t lines() const { return planes * 4 * x.rows * x.columns; }

  MEDGEN_KERNEL std::int64_t length() const { return x.channels; }

  /// A voxel of the source by its place in the whole volume.
  MEDGEN_KERNEL const T* at(std::int64_t plane, std::int64_t row, std::int64_t column) const {
    return x.data + (((plane - first_plane) * x.rows + row) * x.columns + column) * x.channels;
  }
};

/// Where voxel `to` of an axis that was doubled comes from (align_corners false): two neighbours and their weights.
struct LinearTap {
  std::int64_t low;
  std::int64_t high;
  float weight_low;

  static MEDGEN_KERNEL LinearTap of(std::int64_t to, std::int64_t length) {
    const std::int64_t at = to / 2;
    if (to % 2 == 0) return {at > 0 ? at - 1 : 0, at, at > 0 ? 0.25F : 0.0F};
    return {at, at + 1 < length ? at + 1 : at, 0.75F};
  }
};

/// Trilinear interpolation.
template <typename T>
struct UpsampleLinear : Doubling<T> {
  using Doubling<T>::x, Doubling<T>::y, Doubling<T>::all_planes, Doubling<T>::first_result, Doubling<T>::at;

  /// The four lines of two voxels each that one voxel of the result is made of, for all its channels.
  struct Corners {
    const T* low[4];
    const T* high[4];
    float weight[4];
    float weight_low;
    T* to;

    MEDGEN_KERNEL void operator()(std::int64_t channel) const {
      float value = 0;
      for (int i = 0; i < 4; ++i) {
        const float line = weight_low * load(low[i][channel]) + (1.0F - weight_low) * load(high[i][channel]);
        value += weight[i] * line;
      }
      store(value, to + channel);
    }
  };

  MEDGEN_KERNEL Corners line(std::int64_t voxel) const {
    const std::int64_t row = voxel / (2 * x.columns);
    const LinearTap a = LinearTap::of(first_result + row / (2 * x.rows), all_planes);
    const LinearTap b = LinearTap::of(row % (2 * x.rows), x.rows);
    const LinearTap c = LinearTap::of(voxel % (2 * x.columns), x.columns);
    const float wa = a.weight_low;
    const float wb = b.weight_low;
    return {
        {at(a.low, b.low, c.low), at(a.low, b.high, c.low), at(a.high, b.low, c.low), at(a.high, b.high, c.low)},
        {at(a.low, b.low, c.high), at(a.low, b.high, c.high), at(a.high, b.low, c.high), at(a.high, b.high, c.high)},
        {wa * wb, wa * (1.0F - wb), (1.0F - wa) * wb, (1.0F - wa) * (1.0F - wb)},
        c.weight_low,
        y + voxel * x.channels};
  }
};

/// Repetition of every voxel.
template <typename T>
struct UpsampleNearest : Doubling<T> {
  using Doubling<T>::x, Doubling<T>::y, Doubling<T>::first_result, Doubling<T>::at;

  struct Copy {
    const T* from;
    T* to;

    MEDGEN_KERNEL void operator()(std::int64_t channel) const { store(from[channel], to + channel); }
  };

  MEDGEN_KERNEL Copy line(std::int64_t voxel) const {
    const std::int64_t row = voxel / (2 * x.columns);
    const std::int64_t plane = (first_result + row / (2 * x.rows)) / 2;
    return {at(plane, row % (2 * x.rows) / 2, voxel % (2 * x.columns) / 2), y + voxel * x.channels};
  }
};

}  // namespace medgen::kernels
