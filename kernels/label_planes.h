// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// Label maps (N, X, Y, Z) as planes of 0 and 1, (N, K n^3, X/n, Y/n, Z/n): plane k says of each voxel whether bit k of
/// its label is set, or whether the label is classes[k]. With n > 1 every n^3 voxels become n^3 channels of one.
template <bool kBits>
struct LabelPlanes {
  const std::int64_t* labels;
  const std::int64_t* classes;  ///< of K ids; not read for bits
  std::int64_t rows;            ///< N
  std::int64_t planes;          ///< K
  std::int64_t unshuffle;       ///< n
  std::int64_t size[3];         ///< multiples of n
  float* out;

  struct Line {
    const std::int64_t* labels;
    std::int64_t step;
    std::int64_t wanted;  ///< a bit's number or a label
    float* out;

    MEDGEN_KERNEL void operator()(std::int64_t z) const {
      const std::int64_t label = labels[z * step];
      out[z] = (kBits ? ((label >> wanted) & 1) != 0 : label == wanted) ? 1.0F : 0.0F;
    }
  };

  MEDGEN_KERNEL std::int64_t lines() const { return rows * planes * unshuffle * size[0] * size[1]; }

  MEDGEN_KERNEL std::int64_t length() const { return size[2] / unshuffle; }

  MEDGEN_KERNEL Line line(std::int64_t i) const {
    const std::int64_t n = unshuffle;
    const std::int64_t y = i % (size[1] / n);
    const std::int64_t x = i / (size[1] / n) % (size[0] / n);
    const std::int64_t channel = i / (size[1] / n) / (size[0] / n) % (planes * n * n * n);
    const std::int64_t row = i / (size[1] / n) / (size[0] / n) / (planes * n * n * n);
    const std::int64_t plane = channel / (n * n * n);
    const std::int64_t from_x = x * n + channel / (n * n) % n;
    const std::int64_t from_y = y * n + channel / n % n;
    const std::int64_t* first = labels + ((row * size[0] + from_x) * size[1] + from_y) * size[2] + channel % n;
    return {first, n, kBits ? plane : classes[plane], out + i * length()};
  }
};

}  // namespace medgen::kernels
