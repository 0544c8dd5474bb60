// SPDX-License-Identifier: Apache-2.0
#include "core/volume/grid_difference.h"

#include "core/base/error.h"
#include "core/volume/labels.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace medgen {

std::optional<GridDifference> grid_difference(const Geometry& image, const Geometry& other, std::string_view what) {
  constexpr double kNotice = 0.01, kRefuse = 0.5;  // of the smallest side of a voxel
  const Geometry turned = reorient(other, reorientation(other.affine, image.affine.orientation()));
  if (turned.size != image.size) {
    return GridDifference{false, fmt::format("{} has {} voxels, the image {}", what, fmt::join(turned.size, " x "),
                                             fmt::join(image.size, " x "))};
  }
  const Vec3 spacing = image.affine.spacing_mm();
  const double side = *std::min_element(spacing.begin(), spacing.end());
  const double apart = largest_difference_mm(turned, image);
  if (apart <= kNotice * side) return std::nullopt;
  return GridDifference{apart <= kRefuse * side,
                        fmt::format("{} lies up to {:.3g} mm away from the image", what, apart)};
}

namespace {

Volume integers(const Volume& map, std::string_view name) {
  try {
    return as_labels(map);
  } catch (const DataError& error) {
    throw DataError("{}: {}", name, error.what());
  }
}

}  // namespace

MatchedLabels match_labels(const Geometry& image, const Volume& map, std::string_view name) {
  const auto difference = grid_difference(image, map.geometry(), "the label map");
  if (difference && !difference->usable) throw DataError("{}: {}", name, difference->message);
  const Volume labels = reorient(integers(map, name), image.affine.orientation());
  return {labels, difference ? std::optional(difference->message) : std::nullopt};
}

}  // namespace medgen
