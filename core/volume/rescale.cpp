// SPDX-License-Identifier: Apache-2.0
#include "core/volume/axis_order.h"
#include "core/volume/volume.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace medgen {
namespace {

constexpr double kSameRatio = 1e-9;  // rounding in affines is no change

/// Voxels of the source that one voxel of the target is made of.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};

/// A tent round the target voxel's centre: one source voxel wide to each side, as linear interpolation, or one target
/// voxel where those are larger: away from borders what PyTorch's interpolate does with antialias=True. Border voxels
/// are repeated.
Taps taps_at(std::int64_t index, double ratio, std::int64_t size) {
  const double centre = ratio * (static_cast<double>(index) + 0.5) - 0.5;
  const double reach = std::max(ratio, 1.0);
  const auto low = static_cast<std::int64_t>(std::ceil(centre - reach));
  const auto high = static_cast<std::int64_t>(std::floor(centre + reach));
  Taps taps;
  taps.first = std::clamp<std::int64_t>(low, 0, size - 1);
  taps.weights.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(high, 0, size - 1) - taps.first + 1));
  double sum = 0;
  for (std::int64_t at = low; at <= high; ++at) {
    const double weight = std::max(0.0, 1 - std::fabs(static_cast<double>(at) - centre) / reach);
    taps.weights[static_cast<std::size_t>(std::clamp<std::int64_t>(at, 0, size - 1) - taps.first)] += weight;
    sum += weight;
  }
  for (double& weight : taps.weights) weight /= sum;
  return taps;
}

/// (..., n, ...) -> (..., `to`, ...) along one axis of a float tensor.
Tensor along_axis(const Tensor& source, std::size_t axis, std::int64_t to, double ratio) {
  Shape shape = source.shape();
  const std::int64_t from = std::exchange(shape[axis], to);
  Tensor result(DType::F32, shape);
  std::size_t inner = 1;
  for (std::size_t a = axis + 1; a < shape.size(); ++a) inner *= static_cast<std::size_t>(shape[a]);
  const float* plane = source.values<float>().data();
  const float* const end = plane + source.values<float>().size();
  float* out = result.values<float>().data();
  std::vector<Taps> taps;
  for (std::int64_t i = 0; i < to; ++i) taps.push_back(taps_at(i, ratio, from));
  std::vector<double> sums(inner);
  for (; plane != end; plane += static_cast<std::size_t>(from) * inner) {
    for (const Taps& each : taps) {
      std::fill(sums.begin(), sums.end(), 0.0);
      const float* row = plane + static_cast<std::size_t>(each.first) * inner;
      for (const double weight : each.weights) {
        for (std::size_t n = 0; n < inner; ++n) sums[n] += weight * static_cast<double>(row[n]);
        row += inner;
      }
      out = std::transform(sums.begin(), sums.end(), out, [](double sum) { return static_cast<float>(sum); });
    }
  }
  return result;
}

}  // namespace

Volume rescale(const Volume& image, const Vec3& spacing_mm) {
  const Geometry target = with_spacing(image.geometry(), spacing_mm);
  const Vec3 old = image.spacing_mm();
  Tensor voxels = image.voxels().to(DType::F32);
  const std::size_t last = voxels.shape().size() - 1;
  for (std::size_t d = 0; d < 3; ++d) {
    const double ratio = spacing_mm[d] / old[d];
    if (std::fabs(ratio - 1) > kSameRatio) voxels = along_axis(voxels, last - d, target.size[d], ratio);
  }
  return {std::move(voxels), target.affine};
}

}  // namespace medgen
