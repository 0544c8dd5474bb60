// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// Adds a window (C, x, y, z) into its place in a whole (C, X, Y, Z), every voxel times its weight, which is the
/// product of the weights of the three axes, but not below `smallest`. Without values it adds the weights alone.
template <bool kValues>
struct BlendWindow {
  const float* values;     ///< not read when !kValues
  const float* weight[3];  ///< along each axis of the window
  float smallest;
  std::int64_t channels;
  std::int64_t size[3];    ///< of the window
  std::int64_t origin[3];  ///< of the window in the whole
  std::int64_t whole[3];
  float* sum;

  struct Line {
    const float* values;
    const float* weight;
    float weight_xy;
    float smallest;
    float* sum;

    MEDGEN_KERNEL void operator()(std::int64_t z) const {
      const float product = weight_xy * weight[z];
      const float w = product < smallest ? smallest : product;
      sum[z] += kValues ? values[z] * w : w;
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return channels * size[0] * size[1]; }

  MEDGEN_KERNEL std::int64_t length() const { return size[2]; }

  MEDGEN_KERNEL Line line(std::int64_t i) const {
    const std::int64_t y = i % size[1];
    const std::int64_t x = i / size[1] % size[0];
    const std::int64_t channel = i / size[1] / size[0];
    const std::int64_t to = ((channel * whole[0] + origin[0] + x) * whole[1] + origin[1] + y) * whole[2] + origin[2];
    return {kValues ? values + i * size[2] : nullptr, weight[2], weight[0][x] * weight[1][y], smallest, sum + to};
  }
};

}  // namespace medgen::kernels
