// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace medgen {

/// The percentiles that are told of every image.
inline constexpr std::array<double, 3> kPercents = {0.5, 50, 99.5};

/// What the values of an image are like; of its finite voxels alone.
struct IntensityFacts {
  double minimum = 0;
  double maximum = 0;
  std::array<double, kPercents.size()> percentiles{};
  std::uint64_t not_finite = 0;  ///< voxels that are NaN or infinite
};

/// Linear between ranks, as numpy.percentile. Nothing when no voxel is finite. O(voxels); 16-bit integers are counted,
/// other types take one copy of the voxels as float.
std::optional<IntensityFacts> intensity_facts(const Tensor& voxels);

/// Smallest, middle and largest of a list.
struct Spread {
  double minimum = 0;
  double median = 0;
  double maximum = 0;
};

/// Of an even number of values the lower one of the middle, so that it is a value that occurs. Zeros for none.
Spread spread_of(std::vector<double> values);

}  // namespace medgen
