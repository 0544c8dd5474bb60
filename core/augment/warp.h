// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/augment/augment.h"

namespace medgen::augmentation {

/// Where the voxels of a box come from.
struct Warp {
  Matrix4 map{};                             ///< from voxel of the box to voxel of the whole
  std::optional<Displacement> displacement;  ///< in voxels of the box, before the map
  bool mirrored = false;                     ///< left becomes right
};

Warp draw_warp(const AugmentOptions& options, const Vec3& spacing_mm, const Size3& corner, const Size3& size,
               std::uint64_t seed, std::uint64_t number);

/// Smooth displacements of a box; the map with them stays invertible.
Displacement draw_elastic(const AugmentOptions::Elastic& options, const Size3& size, std::uint64_t seed,
                          std::uint64_t number);

}  // namespace medgen::augmentation
