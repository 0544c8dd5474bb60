// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/contract.h"
#include "core/volume/volume.h"

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <optional>
#include <string>

namespace medgen {

/// The voxel size that the cases of a training are brought to, in the model's orientation; an axis without one keeps
/// that of the case.
class TargetSpacing {
 public:
  TargetSpacing() = default;

  explicit TargetSpacing(const std::array<std::optional<double>, 3>& mm) : mm_(mm) {}

  /// The value of "resample_mm", validated.
  static TargetSpacing read(const ConfigNode& node);

  bool empty() const { return !mm_[0] && !mm_[1] && !mm_[2]; }

  /// [1, null, 2.5]
  Json json() const;
  /// For fingerprints; "" when all axes keep theirs.
  std::string text() const;

  /// What of it the model was not trained on.
  std::optional<std::string> problem(const GridLimits& limits) const;

  /// Where the voxels of a case on this grid then lie. @param name  of the case. @throws DataError as `image`.
  Geometry grid(const Geometry& grid, const std::string& name) const;
  /// Volumes of a case over the same field of view: the image smoothed where its voxels become larger, the label map by
  /// the nearest voxel. What has this voxel size already stays as it is. @param name  of the case.
  /// @throws DataError when too many voxels would come of it, or less than one. @{
  Volume image(const Volume& volume, const std::string& name) const;
  Volume label(const Volume& volume, const std::string& name) const;
  /// @}

 private:
  Vec3 of(const Geometry& grid, const std::string& name) const;

  std::array<std::optional<double>, 3> mm_;
};

}  // namespace medgen
