// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/tensor/tensor.h"
#include "core/volume/geometry.h"
#include "core/volume/intensity.h"
#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <optional>
#include <string>

namespace medgen {

/// How a model scales intensities.
struct IntensityRule {
  enum class Kind { None, Window, Percentile };
  Kind kind = Kind::None;
  double low = 0;  ///< window: image units; percentile: percent
  double high = 1;
  double scale = 1000;  ///< percentile: what 1 becomes in an image that was generated, not decoded

  /// For one image that goes in. @throws DataError when its percentiles coincide.
  IntensityTransform for_input(const Tensor& voxels) const;
  /// For an image that was generated: nothing was measured, so percentile models give 0..scale.
  IntensityTransform for_output() const;
};

/// What a model was trained on, and so what it may be given: applied to data on the way in and undone on the way out.
struct DataContract {
  struct Background {
    std::int64_t label = 0;
    double value = 0;  ///< in the image's own units
  };

  std::string modality;
  bool xyz_axes = false;  ///< tensors are (x, y, z) instead of (z, y, x)
  std::string orientation = "RAS";
  std::optional<Vec3> spacing_min, spacing_max;  ///< mm, in the model's orientation
  std::optional<Vec3> size_min, size_max;        ///< voxels
  IntensityRule intensity;
  std::optional<Background> background;
  LabelTable labels;  ///< empty: any id
  DType output = DType::I16;

  /// @param data  the "data" object of a model, validated; may be missing (nothing is promised).
  static DataContract read(const ConfigNode& model);

  /// Whether a grid (in the model's orientation) lies within what the model was trained for.
  /// @throws DataError naming `what`, the value seen and the range.
  void check_grid(const Geometry& grid, const std::string& what) const;
  /// Whether all ids of a label map are known. @throws DataError naming `what`, the ids and the known ones.
  void check_labels(const Volume& labels, const std::string& what) const;
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
