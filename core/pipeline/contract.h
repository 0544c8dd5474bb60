// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/grid_limits.h"
#include "core/pipeline/label_volumes.h"
#include "core/tensor/tensor.h"
#include "core/volume/geometry.h"
#include "core/volume/intensity.h"
#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace medgen {

/// How a model scales intensities.
struct IntensityRule {
  enum class Kind { None, Window, Percentile };
  Kind kind = Kind::None;
  double low = 0;  ///< window: image units; percentile: percent
  double high = 1;
  double scale = 1000;  ///< percentile: what 1 becomes in an image that was generated, not decoded
  bool clip = false;    ///< percentile: what is above `high` becomes 1, for images that are saturated there

  /// "intensity" of a data contract. @throws ConfigError when `high` is not above `low`
  static IntensityRule read(const ConfigNode& intensity);

  /// For one image that goes in. @throws DataError when its percentiles coincide.
  IntensityTransform for_input(const Tensor& voxels) const;
  /// The same. @param what  the image, which the error names
  IntensityTransform for_input(const Tensor& voxels, const std::string& what) const;
  /// For an image that was generated: nothing was measured, so percentile models give 0..scale.
  IntensityTransform for_output() const;

 private:
  IntensityTransform with_clip(IntensityTransform transform) const;
};

/// What the user can do about a mask or a grid that a model was not trained for, for messages.
inline constexpr const char* kOutsideContractHint = "\"outside_contract\": \"warn\" in the step tries it all the same";

/// What a model was trained on, and so what it may be given: applied to data on the way in and undone on the way out.
struct DataContract {
  struct Background {
    std::int64_t label = 0;
    double value = 0;  ///< in the image's own units
  };

  std::string modality;
  bool xyz_axes = false;  ///< tensors are (x, y, z) instead of (z, y, x)
  std::string orientation = "RAS";
  GridLimits limits;       ///< what it was trained on
  GridLimits recommended;  ///< what it is best at
  IntensityRule intensity;
  std::optional<Background> background;
  LabelTable labels;                       ///< empty: any id
  std::set<std::int64_t> expected_labels;  ///< every map the model was trained on has them
  LabelVolumes label_volumes_ml;           ///< of the training's cases; empty: not known
  DType output = DType::I16;

  /// Whether the volumes that the model makes are label maps, not images.
  bool makes_labels() const { return modality == "labels"; }

  /// @param data  the "data" object of a model, validated; may be missing (nothing is promised).
  static DataContract read(const ConfigNode& model);

  /// Whether a grid (in the model's orientation) lies within what the model was trained for.
  /// @throws DataError naming `what`, the value seen and the range.
  void check_grid(const Geometry& grid, const std::string& what) const;
  /// The same of the voxel size alone: images that a model is trained on are cropped, so their size is free.
  void check_spacing(const Geometry& grid, const std::string& what) const;
  /// What to say of a grid that is generated all the same.
  /// @param beyond_limits  the caller accepts grids outside `limits`, which are warnings then.
  std::vector<std::string> grid_warnings(const Geometry& grid, bool beyond_limits) const;

  /// Whether all ids of a label map are known. @throws DataError naming `what` and the ids.
  void check_labels(const Volume& labels, const std::string& what) const;
  /// The same of the ids of a map, as a text; nothing when all is well.
  std::optional<std::string> labels_problem(const std::set<std::int64_t>& ids) const;
  /// What of a map's ids is unlike those the model was trained on.
  std::optional<std::string> labels_warning(const std::set<std::int64_t>& ids) const;
};

/// Where a volume goes through a model: onto the model's axes, orientation and multiple, and back to its own grid.
class ModelGrid {
 public:
  /// @param multiple_of  every axis of the model's array is a multiple of this; missing voxels are padded at both ends.
  ModelGrid(const Geometry& geometry, const DataContract& contract, std::int64_t multiple_of);

  const Geometry& source() const { return source_; }

  /// In the model's orientation, before padding.
  const Geometry& oriented() const { return oriented_; }

  /// Spatial shape of the model's array, in its axis order.
  Shape shape() const;

  /// (1, C, spatial...) of the element type of the volume; padding has the value `fill`.
  Tensor to_model(const Volume& volume, double fill) const;
  /// The way back, from (1, C, spatial...) to the source grid.
  Volume from_model(const Tensor& tensor) const;

 private:
  Geometry source_;
  Reorientation reorientation_;
  Geometry oriented_;
  Geometry padded_;
  bool xyz_axes_;
};

}  // namespace medgen
