// SPDX-License-Identifier: Apache-2.0
// Free-form deformation by cubic B-splines.
#include "core/augment/draws.h"
#include "core/augment/warp.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace medgen::augmentation {
namespace {

/// Displacements of control points below this part of their distance cannot fold space (Choi and Lee 2000).
constexpr double kFoldFree = 0.4;

/// The four control points that act on a voxel, and their weights.
struct Support {
  std::size_t first = 0;
  std::array<double, 4> weight{};
};

std::vector<Support> supports(std::int64_t voxels, double spacing) {
  std::vector<Support> all(static_cast<std::size_t>(voxels));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double place = static_cast<double>(i) / spacing;
    const double t = place - std::floor(place);
    const double s = 1 - t;
    all[i].first = static_cast<std::size_t>(place);
    all[i].weight = {s * s * s / 6, (3 * t * t * t - 6 * t * t + 4) / 6, (3 * s * s * s - 6 * s * s + 4) / 6,
                     t * t * t / 6};
  }
  return all;
}

class Spline {
 public:
  Spline(const AugmentOptions::Elastic& options, const Size3& size, std::uint64_t seed, std::uint64_t number) {
    std::int64_t count = 3;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      supports_[axis] = supports(size[axis], options.spacing_voxels);
      points_[axis] = supports_[axis].back().first + 4;
      count *= static_cast<std::int64_t>(points_[axis]);
    }
    const Tensor normal = draw(seed, number, "augment.elastic.points", count, Distribution::Normal);
    const double most = kFoldFree * options.spacing_voxels;
    for (const double value : normal.values<double>()) {
      control_.push_back(std::clamp(value * options.sigma_voxels, -most, most));
    }
  }

  void row(std::int64_t j, std::int64_t k, std::span<Vec3> out) const {
    const std::vector<Vec3> line =
        collapsed(supports_[1][static_cast<std::size_t>(j)], supports_[2][static_cast<std::size_t>(k)]);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Support& x = supports_[0][i];
      out[i] = {};
      for (std::size_t a = 0; a < 4; ++a) {
        for (std::size_t d = 0; d < 3; ++d) out[i][d] += x.weight[a] * line[x.first + a][d];
      }
    }
  }

 private:
  /// The control points of one row: y and z summed up.
  std::vector<Vec3> collapsed(const Support& y, const Support& z) const {
    std::vector<Vec3> line(points_[0]);
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t b = 0; b < 4; ++b) {
        const double weight = y.weight[b] * z.weight[c];
        const double* from = control_.data() + ((z.first + c) * points_[1] + y.first + b) * points_[0] * 3;
        for (std::size_t i = 0; i < line.size(); ++i) {
          for (std::size_t d = 0; d < 3; ++d) line[i][d] += weight * from[3 * i + d];
        }
      }
    }
    return line;
  }

  std::array<std::vector<Support>, 3> supports_;
  std::array<std::size_t, 3> points_{};
  std::vector<double> control_;  ///< (z, y, x, 3)
};

}  // namespace

Displacement draw_elastic(const AugmentOptions::Elastic& options, const Size3& size, std::uint64_t seed,
                          std::uint64_t number) {
  const auto spline = std::make_shared<Spline>(options, size, seed, number);
  return [spline](std::int64_t j, std::int64_t k, std::span<Vec3> row) { spline->row(j, k, row); };
}

}  // namespace medgen::augmentation
