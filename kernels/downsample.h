// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// Means of 2 x 2 x 2 voxels, summed in float32 in the order of memory and rounded once: y has half of the planes, rows
/// and columns of x, without a last odd one, and its channels.
template <typename T>
struct DownsampleMean {
  Planes<const T> x;
  T* y;

  struct Eight {
    const T* from;
    std::int64_t column, row, plane;  ///< to the next one
    T* to;

    MEDGEN_KERNEL void operator()(std::int64_t channel) const {
      float sum = 0;
      for (int corner = 0; corner < 8; ++corner) {
        sum += load(from[(corner >> 2) * plane + (corner >> 1 & 1) * row + (corner & 1) * column + channel]);
      }
      store(0.125F * sum, to + channel);
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return x.planes / 2 * (x.rows / 2) * (x.columns / 2); }

  MEDGEN_KERNEL std::int64_t length() const { return x.channels; }

  MEDGEN_KERNEL Eight line(std::int64_t voxel) const {
    const std::int64_t rows = x.rows / 2, columns = x.columns / 2;
    const std::int64_t plane = voxel / (rows * columns), row = voxel / columns % rows, column = voxel % columns;
    const std::int64_t to_row = x.columns * x.channels, to_plane = x.rows * to_row;
    return {x.data + 2 * (plane * to_plane + row * to_row + column * x.channels), x.channels, to_row, to_plane,
            y + voxel * x.channels};
  }
};

}  // namespace medgen::kernels
