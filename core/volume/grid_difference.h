// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/volume/geometry.h"
#include "core/volume/volume.h"

#include <optional>
#include <string>
#include <string_view>

namespace medgen {

/// How two grids that should be one differ.
struct GridDifference {
  bool usable = false;  ///< so little that every voxel still lies on its partner, as where headers are rounded
  std::string message;
};

/// How a label map's or another channel's grid differs from its image's, whatever axes each is stored along; nothing
/// when they are one to a hundredth of a voxel. Other sizes and more than half a voxel are not usable.
/// @param what  of the other, for the message.
std::optional<GridDifference> grid_difference(const Geometry& image, const Geometry& other, std::string_view what);

/// A label map that goes with an image.
struct MatchedLabels {
  Volume labels;                       ///< integers, along the image's axes; where the file says they lie
  std::optional<std::string> warning;  ///< that their grid is a little off
};

/// The label map of an image. @param name  of the map or of their case, for messages.
/// @throws DataError for voxels that are no labels, and for a grid that is not the image's.
MatchedLabels match_labels(const Geometry& image, const Volume& map, std::string_view name);

}  // namespace medgen
