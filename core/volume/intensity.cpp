// SPDX-License-Identifier: Apache-2.0
#include "core/volume/intensity.h"

#include "core/base/error.h"
#include "core/volume/element.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace medgen {
namespace {

/// Value at a rank that need not be whole; reorders `values`.
double at_rank(std::vector<float>& values, double percent) {
  const double rank = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), values.begin() + below, values.end());
  const double low = values[static_cast<std::size_t>(below)];
  const double fraction = rank - static_cast<double>(below);
  if (fraction == 0) return low;
  const double high = *std::min_element(values.begin() + below + 1, values.end());
  return low + fraction * (high - low);
}

double clipped(const IntensityTransform& transform, double value) {
  if (transform.clip_low && value < 0) return 0;
  if (transform.clip_high && value > 1) return 1;
  return value;
}

}  // namespace

IntensityTransform intensity_window(double low, double high) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high)) {
    throw DataError("an intensity window needs two numbers in rising order, not [{:g}, {:g}]", low, high);
  }
  return {low, high, true, true};
}

IntensityTransform intensity_percentiles(const Tensor& voxels, double lower_percent, double upper_percent) {
  if (!(lower_percent >= 0) || !(lower_percent < upper_percent) || !(upper_percent <= 100)) {
    throw DataError("percentiles must rise within 0 to 100, not {:g} and {:g}", lower_percent, upper_percent);
  }
  const Tensor floats = voxels.to(DType::F32);
  const auto span = floats.values<float>();
  std::vector<float> values(span.begin(), span.end());
  if (values.empty()) throw DataError("an image without voxels has no percentiles");
  const auto bad = std::count_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad > 0) throw DataError("{} of {} voxels are not finite numbers; repair the image first", bad, values.size());
  const double low = at_rank(values, lower_percent);
  const double high = at_rank(values, upper_percent);
  if (!(low < high)) {
    throw DataError("the {:g}th and the {:g}th percentile are both {:g}: the image is (nearly) constant", lower_percent,
                    upper_percent, low);
  }
  return {low, high, true, false};
}

Tensor scaled(const IntensityTransform& transform, const Tensor& voxels) {
  if (is_half(voxels.dtype())) return scaled(transform, voxels.to(DType::F32));
  Tensor result(DType::F32, voxels.shape());
  const double range = transform.high - transform.low;
  with_element_type(voxels.dtype(), [&]<typename T>(T) {
    const auto in = voxels.values<T>();
    const auto out = result.values<float>();
    for (std::size_t i = 0; i < in.size(); ++i) {
      out[i] = static_cast<float>(clipped(transform, (static_cast<double>(in[i]) - transform.low) / range));
    }
  });
  return result;
}

Tensor unscaled(const IntensityTransform& transform, const Tensor& scaled, DType dtype) {
  const Tensor floats = scaled.to(DType::F32);
  Tensor result(DType::F32, floats.shape());
  const auto in = floats.values<float>();
  const auto out = result.values<float>();
  const double range = transform.high - transform.low;
  for (std::size_t i = 0; i < in.size(); ++i) {
    out[i] = static_cast<float>(clipped(transform, in[i]) * range + transform.low);
  }
  return result.to(dtype);
}

}  // namespace medgen
