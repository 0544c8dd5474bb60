// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/grid_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace medgen {
namespace {

constexpr double kTolerance = 1e-3;  // mm; spacings are rounded in many headers

std::optional<Vec3> bound(const ConfigNode& range, const char* which) {
  if (!range.contains(which)) return std::nullopt;
  const auto values = range.at(which).as<std::vector<double>>();
  return Vec3{values.at(0), values.at(1), values.at(2)};
}

GridLimits::Range range_of(const ConfigNode& node, const char* what) {
  if (!node.contains(what)) return {};
  const GridLimits::Range range{bound(node.at(what), "minimum"), bound(node.at(what), "maximum")};
  for (std::size_t axis = 0; axis < 3 && range.minimum && range.maximum; ++axis) {
    const double low = (*range.minimum)[axis], high = (*range.maximum)[axis];
    if (low > high) node.at(what).fail("has a minimum of {} above its maximum of {}", low, high);
  }
  return range;
}

std::optional<std::string> range_problem(const char* quantity, const Vec3& seen, const GridLimits::Range& range,
                                         double tolerance) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const bool below = range.minimum && seen[axis] < (*range.minimum)[axis] - tolerance;
    const bool above = range.maximum && seen[axis] > (*range.maximum)[axis] + tolerance;
    if (!below && !above) continue;
    return fmt::format("{} ({}) is {} {}", quantity, fmt::join(seen, ", "), below ? "below" : "above",
                       fmt::join(below ? *range.minimum : *range.maximum, ", "));
  }
  return std::nullopt;
}

std::optional<std::string> first(std::initializer_list<std::optional<std::string>> problems) {
  for (const auto& problem : problems) {
    if (problem) return problem;
  }
  return std::nullopt;
}

std::optional<std::string> square_problem(const Geometry& grid, const Vec3& spacing) {
  if (grid.size[0] == grid.size[1] && std::fabs(spacing[0] - spacing[1]) <= kTolerance) return std::nullopt;
  return fmt::format("x and y are not alike in size ({}) and spacing in mm ({})", fmt::join(grid.size, ", "),
                     fmt::join(spacing, ", "));
}

std::optional<std::string> sizes_problem(const Size3& size, const std::vector<Size3>& sizes) {
  if (sizes.empty() || std::find(sizes.begin(), sizes.end(), size) != sizes.end()) return std::nullopt;
  std::vector<std::string> known;
  for (const Size3& each : sizes) known.push_back(fmt::format("{}", fmt::join(each, " x ")));
  return fmt::format("size in voxels ({}) is none of {}", fmt::join(size, ", "), fmt::join(known, ", "));
}

}  // namespace

std::optional<std::string> multiple_problem(const Size3& size, std::int64_t multiple_of) {
  for (const std::int64_t axis : size) {
    if (axis % multiple_of != 0)
      return fmt::format("size in voxels ({}) is not a multiple of {} along every axis", fmt::join(size, ", "),
                         multiple_of);
  }
  return std::nullopt;
}

GridLimits GridLimits::read(const ConfigNode& node) {
  GridLimits limits;
  limits.spacing_mm = range_of(node, "spacing_mm");
  limits.size = range_of(node, "size");
  limits.fov_mm = range_of(node, "fov_mm");
  if (node.contains("size")) limits.multiple_of = node.at("size").get<std::int64_t>("multiple_of", 1);
  limits.square = node.get<bool>("square", false);
  if (node.contains("sizes")) {
    for (const ConfigNode& each : node.at("sizes").items()) {
      const auto size = each.as<std::vector<std::int64_t>>();
      limits.sizes.push_back({size.at(0), size.at(1), size.at(2)});
    }
  }
  return limits;
}

std::optional<std::string> GridLimits::spacing_problem(const Geometry& grid) const {
  return range_problem("spacing in mm", grid.affine.spacing_mm(), spacing_mm, kTolerance);
}

std::optional<std::string> GridLimits::problem(const Geometry& grid) const {
  const Vec3 spacing = grid.affine.spacing_mm();
  Vec3 voxels{}, extent{};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    voxels[axis] = static_cast<double>(grid.size[axis]);
    extent[axis] = voxels[axis] * spacing[axis];
  }
  // Every voxel may be off by the tolerance of its spacing.
  const double slack = kTolerance * std::max({voxels[0], voxels[1], voxels[2]});
  return first({spacing_problem(grid), range_problem("size in voxels", voxels, size, 0),
                range_problem("field of view in mm", extent, fov_mm, slack), multiple_problem(grid.size, multiple_of),
                square ? square_problem(grid, spacing) : std::nullopt, sizes_problem(grid.size, sizes)});
}

}  // namespace medgen
