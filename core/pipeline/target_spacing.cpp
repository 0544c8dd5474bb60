// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/target_spacing.h"

#include "core/base/error.h"
#include "core/config/json.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace medgen {
namespace {

constexpr double kSame = 1e-4;            // of a voxel: headers round, and a tenth of a voxel at 1000 is nothing
constexpr double kMostVoxels = 1U << 31;  // 8 GiB as float

std::optional<double> millimetres(const ConfigNode& node) {
  return node.json().is_null() ? std::nullopt : std::optional(node.as<double>());
}

}  // namespace

TargetSpacing TargetSpacing::read(const ConfigNode& node) {
  if (node.is_number()) return TargetSpacing({node.as<double>(), node.as<double>(), node.as<double>()});
  const auto axes = node.items();
  return TargetSpacing({millimetres(axes.at(0)), millimetres(axes.at(1)), millimetres(axes.at(2))});
}

Json TargetSpacing::json() const {
  Json json = Json::array();
  for (const auto& mm : mm_) json.push_back(mm ? Json(*mm) : Json());
  return json;
}

std::string TargetSpacing::text() const {
  return empty() ? "" : "resample_mm " + dump_compact(json()) + '\n';
}

std::optional<std::string> TargetSpacing::problem(const GridLimits& limits) const {
  Vec3 spacing{1, 1, 1};
  for (std::size_t d = 0; d < 3; ++d) {
    for (const auto& bound : {limits.spacing_mm.minimum, limits.spacing_mm.maximum}) {
      if (bound) spacing[d] = (*bound)[d];  // an axis that keeps its own is looked at case by case
    }
    if (mm_[d]) spacing[d] = *mm_[d];
  }
  return limits.spacing_problem({{1, 1, 1}, Affine<Ras>::from_spacing(spacing)});
}

Vec3 TargetSpacing::of(const Geometry& grid, const std::string& name) const {
  Vec3 spacing = grid.affine.spacing_mm();
  double voxels = 1;
  for (std::size_t d = 0; d < 3; ++d) {
    const double extent = static_cast<double>(grid.size[d]) * spacing[d];
    if (mm_[d] && std::fabs(*mm_[d] - spacing[d]) > kSame * *mm_[d]) spacing[d] = *mm_[d];
    if (extent < (1 - kSame) * spacing[d])
      throw DataError("{}: \"resample_mm\" is {:g} along {}, where the case is {:.3g} mm, less than one voxel", name,
                      spacing[d], "xyz"[d], extent);
    voxels *= extent / spacing[d];
  }
  if (voxels > kMostVoxels)
    throw DataError("{}: \"resample_mm\" ({:g}) makes {:.3g} voxels of it; choose a larger one", name,
                    fmt::join(spacing, ", "), voxels);
  return spacing;
}

Geometry TargetSpacing::grid(const Geometry& grid, const std::string& name) const {
  if (empty()) return grid;
  const Vec3 spacing = of(grid, name);
  return spacing == grid.affine.spacing_mm() ? grid : with_spacing(grid, spacing);
}

Volume TargetSpacing::image(const Volume& volume, const std::string& name) const {
  if (empty()) return volume;
  const Vec3 spacing = of(volume.geometry(), name);
  return spacing == volume.spacing_mm() ? volume : rescale(volume, spacing);
}

Volume TargetSpacing::label(const Volume& volume, const std::string& name) const {
  if (empty()) return volume;
  const Vec3 spacing = of(volume.geometry(), name);
  return spacing == volume.spacing_mm() ? volume : resample_to_spacing(volume, spacing, Interpolation::Nearest);
}

}  // namespace medgen
