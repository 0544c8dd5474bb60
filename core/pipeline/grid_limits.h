// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/volume/geometry.h"

#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// Grids, in a model's orientation: those it was trained on, or those it is best at.
struct GridLimits {
  struct Range {
    std::optional<Vec3> minimum, maximum;
  };

  Range spacing_mm;
  Range size;    ///< voxels
  Range fov_mm;  ///< size times spacing
  std::int64_t multiple_of = 1;
  bool square = false;       ///< x and y have one spacing and one size
  std::vector<Size3> sizes;  ///< voxels: these alone; empty: any

  /// @param node  an object that may have "spacing_mm", "size", "fov_mm", "square" and "sizes", validated.
  static GridLimits read(const ConfigNode& node);

  /// What of a grid lies outside, with the value seen and the limit; nothing when all is inside.
  std::optional<std::string> problem(const Geometry& grid) const;
  std::optional<std::string> spacing_problem(const Geometry& grid) const;
};

/// Why networks that want axes of such multiples cannot take a size; nothing when they can.
std::optional<std::string> multiple_problem(const Size3& size, std::int64_t multiple_of);

}  // namespace medgen
