// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/kernels/activations.h"

namespace medgen::kernels {

/// Where voxel `to` of an axis that was doubled comes from (align_corners false): two neighbours and their weights.
struct LinearTap {
  std::int64_t low;
  std::int64_t high;
  float weight_low;

  static MEDGEN_HD LinearTap of(std::int64_t to, std::int64_t length) {
    const std::int64_t at = to / 2;
    if (to % 2 == 0) return {at > 0 ? at - 1 : 0, at, at > 0 ? 0.25F : 0.0F};
    return {at, at + 1 < length ? at + 1 : at, 0.75F};
  }
};

/// Trilinear interpolation to twice the length of every axis. `x` holds the planes [first_plane, first_plane +
/// x.planes) of a volume of `all_planes`; the result's planes are counted from `first_result`.
template <typename T>
struct UpsampleLinear {
  Planes<const T> x;
  std::int64_t first_plane;
  std::int64_t all_planes;
  T* y;
  std::int64_t first_result;

  /// The four lines of two voxels each that one voxel of the result is made of, for all its channels.
  struct Corners {
    const T* low[4];
    const T* high[4];
    float weight[4];
    float weight_low;
    T* y;

    MEDGEN_HD void operator()(std::int64_t channel) const {
      float value = 0;
      for (int i = 0; i < 4; ++i) {
        const float line = weight_low * load(low[i][channel]) + (1.0F - weight_low) * load(high[i][channel]);
        value += weight[i] * line;
      }
      store(value, y + channel);
    }
  };

  /// Of the result's plane `first_result + plane`.
  MEDGEN_HD Corners corners(std::int64_t plane, std::int64_t row, std::int64_t column) const {
    const LinearTap a = LinearTap::of(first_result + plane, all_planes);
    const LinearTap b = LinearTap::of(row, x.rows);
    const LinearTap c = LinearTap::of(column, x.columns);
    const auto at = [&](std::int64_t p, std::int64_t r, std::int64_t q) {
      return x.data + (((p - first_plane) * x.rows + r) * x.columns + q) * x.channels;
    };
    const float wa = a.weight_low;
    const float wb = b.weight_low;
    return {
        {at(a.low, b.low, c.low), at(a.low, b.high, c.low), at(a.high, b.low, c.low), at(a.high, b.high, c.low)},
        {at(a.low, b.low, c.high), at(a.low, b.high, c.high), at(a.high, b.low, c.high), at(a.high, b.high, c.high)},
        {wa * wb, wa * (1.0F - wb), (1.0F - wa) * wb, (1.0F - wa) * (1.0F - wb)},
        c.weight_low,
        y + ((plane * 2 * x.rows + row) * 2 * x.columns + column) * x.channels};
  }
};

}  // namespace medgen::kernels
