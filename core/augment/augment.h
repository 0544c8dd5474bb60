// SPDX-License-Identifier: Apache-2.0
// Random changes of training patches. What happens to patch number n is a function of the options, the seed and n
// alone, whatever the threads and the order; every kind of change has random numbers of its own, so that switching one
// off leaves the others as they were.
#pragma once

#include "core/config/node.h"
#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace medgen {

/// An image (float32, scaled by a data contract, so that 0 is its dark end) and its label map on the same grid.
struct Patch {
  Volume image;
  std::optional<Volume> label;
};

/// What may happen, and how often. Nothing by default.
struct AugmentOptions {
  /// With `probability`, a number drawn evenly from [low, high].
  struct Range {
    double probability = 0;
    double low = 0;
    double high = 0;
  };

  struct Axes {
    double probability = 0;
    std::array<bool, 3> axes{};  ///< x, y, z: each by itself
  };

  struct Elastic {
    double probability = 0;
    double spacing_voxels = 16;  ///< of the control points of a cubic B-spline
    double sigma_voxels = 2;     ///< of their displacements, which are cut off before the grid would fold
  };

  struct HistogramShift {
    double probability = 0;
    int control_points = 10;
  };

  Axes flip;
  Axes quarter_turn;  ///< by 90, 180 or 270 degrees round the axis, in voxels
  Range rotate;       ///< radians round each axis, in mm
  Range zoom;         ///< above 1 enlarges what is seen
  Elastic elastic;

  Range bias_field;  ///< coefficients of a Legendre polynomial of degree 3; the image is multiplied by its exponential
  Range gibbs;       ///< part of the radius of k-space that is cut off, outside in
  Range gamma;       ///< exponent
  HistogramShift histogram_shift;
  Range scale_intensity;  ///< values times 1 + the number
  Range shift_intensity;  ///< values plus the number

  /// Labels that change places when a patch is mirrored, such as left and right kidney.
  std::vector<std::pair<std::int64_t, std::int64_t>> mirrored_labels;

  /// JSON Schema of the "augment" object.
  static std::string schema();
  /// @param augment  valid by the schema. @param labels  for the names in "mirrored_labels".
  /// @throws ConfigError for a range in falling order, a zoom that is not positive, a name that `labels` lacks, or
  /// pairs that nothing mirrors.
  static AugmentOptions read(const ConfigNode& augment, const LabelTable& labels);
};

/// What to say when patches are mirrored and `labels` have a left and a right that do not change places.
std::optional<std::string> mirror_warning(const AugmentOptions& options, const LabelTable& labels);

/// The part [corner, corner + size) of `whole`, changed. Image (linear) and label map (nearest) are read from the whole
/// in one interpolation, so what a rotation brings into view is real; outside the whole both are 0. Result on the grid
/// of the box; image as float32, label ids those of the whole or 0.
/// @param corner  may lie outside.
/// @throws DataError when the label map is on another grid.
Patch augment(const Patch& whole, const Size3& corner, const Size3& size, const AugmentOptions& options,
              std::uint64_t seed, std::uint64_t number);
/// The same with the whole as box.
Patch augment(const Patch& patch, const AugmentOptions& options, std::uint64_t seed, std::uint64_t number);

}  // namespace medgen
