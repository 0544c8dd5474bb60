// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/volume/volume.h"

#include <cstdint>

namespace medgen {

/// MAISI's body envelope: a label on every voxel of the body that has no other, which its ControlNet needs.
struct BodyRule {
  std::int64_t label = 200;
  double air_below = -800;  ///< Hounsfield units
  double least_part = 1;    ///< of parts like legs, relative to the largest; 1: the largest alone
};

/// A label map, of integers, with the body's label where it is 0 and the CT on the same grid shows the body. A map that
/// has the label already stays as it is. Air is the largest part below `air_below`, closed by 3 voxels, without
/// labelled voxels; the body is the rest, opened by 5 to its largest part (a table goes; `least_part` keeps more),
/// closed by 3, with all labelled voxels. Air inside that is a twentieth of the body or more is not body (between back
/// and table). As released
/// (`add_body_envelope`), in voxels. The element type grows where the label does not fit.
/// @throws DataError when the grids differ in size or the CT has channels.
Volume with_body(const Volume& ct, const Volume& labels, const BodyRule& rule);

}  // namespace medgen
