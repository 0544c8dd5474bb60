// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/volume/axis_order.h"
#include "core/volume/element.h"
#include "core/volume/volume.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace medgen {
namespace {

/// Positions this near to a voxel or a border count as on it: rounding in the affines must not change values.
constexpr double kOnGrid = 1e-6;

/// The two neighbours of a position along one axis, and the share of the upper one.
struct Tap {
  std::int64_t low = 0;
  std::int64_t high = 0;
  double fraction = 0;
  bool inside = false;
};

Tap tap_at(double position, std::int64_t size, Interpolation interpolation) {
  const auto last = static_cast<double>(size - 1);
  Tap tap;
  tap.inside = position >= -0.5 - kOnGrid && position <= last + 0.5 + kOnGrid;
  if (!tap.inside) return tap;
  if (interpolation == Interpolation::Nearest) position = std::floor(position + 0.5 + kOnGrid);
  position = std::clamp(position, 0.0, last);
  const double nearest = std::floor(position + 0.5);
  if (std::fabs(position - nearest) < kOnGrid) position = nearest;
  tap.low = static_cast<std::int64_t>(position);
  tap.high = std::min(tap.low + 1, size - 1);
  tap.fraction = position - static_cast<double>(tap.low);
  return tap;
}

template <typename T>
T linear(const T* voxels, const Size3& size, const std::array<Tap, 3>& taps) {
  const auto& [x, y, z] = taps;
  const auto along_x = [&](std::int64_t k, std::int64_t j) {
    const T* row = voxels + (k * size[1] + j) * size[0];
    const auto low = static_cast<double>(row[x.low]);
    return x.fraction == 0 ? low : low + x.fraction * (static_cast<double>(row[x.high]) - low);
  };
  const auto along_y = [&](std::int64_t k) {
    const double low = along_x(k, y.low);
    return y.fraction == 0 ? low : low + y.fraction * (along_x(k, y.high) - low);
  };
  const double low = along_y(z.low);
  const double value = z.fraction == 0 ? low : low + z.fraction * (along_y(z.high) - low);
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(std::nearbyint(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
T nearest(const T* voxels, const Size3& size, const std::array<Tap, 3>& taps) {
  return voxels[(taps[2].low * size[1] + taps[1].low) * size[0] + taps[0].low];
}

bool on_grid(const std::array<Tap, 3>& taps) {
  return taps[0].fraction == 0 && taps[1].fraction == 0 && taps[2].fraction == 0;
}

/// Source positions along rows of the target: origin + i * step, where `step` is the map's column for i; displaced
/// where asked for.
class RowMap {
 public:
  RowMap(const Matrix4& map, const Displacement* displacement, std::int64_t length)
      : matrix_(map),
        displacement_(displacement),
        bent_(displacement == nullptr ? 0 : static_cast<std::size_t>(length)),
        straight_(displacement == nullptr && map[4] == 0 && map[8] == 0) {}

  void start(std::int64_t j, std::int64_t k) {
    origin_ = geometry::apply(matrix_, {0, static_cast<double>(j), static_cast<double>(k)});
    if (displacement_ != nullptr) (*displacement_)(j, k, bent_);
  }

  double at(std::size_t axis, std::int64_t i) const {
    const double place = origin_[axis] + matrix_[4 * axis] * static_cast<double>(i);
    if (displacement_ == nullptr) return place;
    const double* row = matrix_.data() + 4 * axis;
    const Vec3& bent = bent_[static_cast<std::size_t>(i)];
    return place + row[0] * bent[0] + row[1] * bent[1] + row[2] * bent[2];
  }

  /// y and z of the source stay the same along a row.
  bool is_straight() const { return straight_; }

 private:
  Matrix4 matrix_;
  const Displacement* displacement_;
  std::vector<Vec3> bent_;
  Vec3 origin_{};
  bool straight_;
};

template <typename T>
void resample_channel(const T* source, const Size3& from, T* target, const Size3& to, RowMap& map,
                      Interpolation interpolation, T outside) {
  std::array<Tap, 3> taps;
  for (std::int64_t k = 0; k < to[2]; ++k) {
    for (std::int64_t j = 0; j < to[1]; ++j) {
      map.start(j, k);
      for (std::int64_t i = 0; i < to[0]; ++i) {
        taps[0] = tap_at(map.at(0, i), from[0], interpolation);
        for (std::size_t axis = 1; axis < 3 && (i == 0 || !map.is_straight()); ++axis) {
          taps[axis] = tap_at(map.at(axis, i), from[axis], interpolation);
        }
        const bool inside = taps[0].inside && taps[1].inside && taps[2].inside;
        // A voxel met exactly is copied, which also keeps 64-bit integers whole.
        *target++ = !inside ? outside : on_grid(taps) ? nearest(source, from, taps) : linear(source, from, taps);
      }
    }
  }
}

/// Index map from target to source, with what is only rounding taken out of it.
Matrix4 index_map(const Affine<Ras>& source, const Affine<Ras>& target) {
  Matrix4 map = geometry::multiply(geometry::inverse(source.rows()), target.rows());
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) {
      if (std::fabs(map[4 * r + c]) < 1e-12) map[4 * r + c] = 0;
    }
  }
  return map;
}

}  // namespace

Tensor resample(const Volume& volume, const Size3& size, const Matrix4& map, const Displacement* displacement,
                Interpolation interpolation, double outside) {
  const DType dtype = volume.dtype();
  if (interpolation == Interpolation::Linear && dtype == DType::Bool) {
    throw DataError("a boolean volume cannot be interpolated linearly; resample it with the nearest voxel");
  }
  if (is_half(dtype)) {
    const Volume wide = volume.with_voxels(volume.voxels().to(DType::F32));
    return resample(wide, size, map, displacement, interpolation, outside).to(dtype);
  }
  RowMap rows(map, displacement, size[0]);
  Tensor voxels(dtype, volume.has_channels() ? zyx_of(Shape{volume.channels()}, size) : zyx_of(size));
  with_element_type(dtype, [&]<typename T>(T) {
    const T fill = element_of<T>(outside, "the value outside the field of view");
    const std::int64_t in = volume.voxels().size() / volume.channels();
    const std::int64_t out = voxels.size() / volume.channels();
    for (std::int64_t c = 0; c < volume.channels(); ++c) {
      resample_channel(static_cast<const T*>(volume.voxels().data()) + c * in, volume.size(),
                       static_cast<T*>(voxels.data()) + c * out, size, rows, interpolation, fill);
    }
  });
  return voxels;
}

Volume resample(const Volume& volume, const Geometry& target, Interpolation interpolation, double outside) {
  const Matrix4 map = index_map(volume.affine(), target.affine);
  return Volume(resample(volume, target.size, map, nullptr, interpolation, outside), target.affine);
}

Volume resample_to_spacing(const Volume& volume, const Vec3& spacing_mm, Interpolation interpolation) {
  return resample(volume, with_spacing(volume.geometry(), spacing_mm), interpolation);
}

}  // namespace medgen
