// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

namespace medgen {

/// How a model's data contract scales intensities: `low` becomes 0, `high` becomes 1, beyond that cut off or kept.
/// Plain data, so that what was measured on one image (percentiles) can be recorded and undone.
struct IntensityTransform {
  double low = 0;
  double high = 1;
  bool clip_low = true;
  bool clip_high = true;

  friend bool operator==(const IntensityTransform&, const IntensityTransform&) = default;
};

/// A fixed window, cut off at both ends: CT [-1000, 1000] HU. @throws DataError unless low < high, both finite.
IntensityTransform intensity_window(double low, double high);

/// From percentiles of the image itself, nothing cut off above: MR 0 to 99.5. Linear between ranks, as
/// numpy.percentile.
/// @param voxels any shape; all channels together.
/// @throws DataError for percentiles out of order, voxels that are not finite, or an image whose two percentiles
/// coincide. One copy of the voxels as float; O(voxels).
IntensityTransform intensity_percentiles(const Tensor& voxels, double lower_percent, double upper_percent);

/// F32 of the same shape, 0 at `low` and 1 at `high`.
Tensor scaled(const IntensityTransform& transform, const Tensor& voxels);

/// The way back: values are cut off as the transform says, then 0 becomes `low` and 1 becomes `high`. Integer types are
/// rounded to nearest and saturate.
Tensor unscaled(const IntensityTransform& transform, const Tensor& scaled, DType dtype);

}  // namespace medgen
