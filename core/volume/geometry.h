// SPDX-License-Identifier: Apache-2.0
// Where voxels lie in the patient. Index order is (i, j, k) = (x, y, z) in every function here; tensors are (z, y, x)
// (core/volume/axis_order.h converts). World coordinates are millimetres, and their frame is a type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace medgen {

/// x to the Right, y to the Anterior, z to the Superior: NIfTI, and everything inside medgen.
struct Ras {
  static constexpr std::string_view kLetters = "RAS";
};

/// x to the Left, y to the Posterior, z to the Superior: DICOM and ITK; only where files or hosts speak it.
struct Lps {
  static constexpr std::string_view kLetters = "LPS";
};

using Vec3 = std::array<double, 3>;
using Size3 = std::array<std::int64_t, 3>;  ///< voxels along x, y, z
using Matrix3 = std::array<Vec3, 3>;        ///< rows
using Matrix4 = std::array<double, 16>;     ///< row-major

/// A continuous voxel index; the centre of the first voxel is (0, 0, 0).
struct Voxel {
  Vec3 ijk{};
};

/// A point of the world, in mm.
template <typename World>
struct Point {
  Vec3 mm{};
};

namespace geometry {

inline constexpr Matrix4 kIdentity = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

Matrix4 multiply(const Matrix4& a, const Matrix4& b);
/// Of an affine matrix that `validated` accepts.
Matrix4 inverse(const Matrix4& affine);
Vec3 apply(const Matrix4& affine, const Vec3& point);
/// The matrix itself. @throws DataError when an entry is not finite, the last row is not 0 0 0 1, a spacing lies
/// outside 1e-6 to 1e6 mm, the origin is farther than 1e9 mm, or the axes are (nearly) in one plane.
const Matrix4& validated(const Matrix4& affine);
Vec3 column_lengths(const Matrix4& affine);
std::string orientation(const Matrix4& affine, std::string_view positive_letters);

}  // namespace geometry

/// The map from voxel index (i, j, k) to the world: always invertible, oblique and left-handed ones included.
template <typename World>
class Affine {
 public:
  Affine() = default;

  /// @throws DataError, see geometry::validated.
  explicit Affine(const Matrix4& rows) : rows_(geometry::validated(rows)) {}

  /// Columns of `direction` are the unit vectors of the three voxel axes.
  static Affine from_parts(const Matrix3& direction, const Vec3& spacing_mm, const Vec3& origin);

  static Affine from_spacing(const Vec3& spacing_mm, const Vec3& origin = {}) {
    return from_parts({{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}, spacing_mm, origin);
  }

  const Matrix4& rows() const noexcept { return rows_; }

  double operator()(std::size_t row, std::size_t column) const { return rows_[4 * row + column]; }

  Vec3 spacing_mm() const { return geometry::column_lengths(rows_); }

  /// World position of the first voxel's centre.
  Vec3 origin() const { return {rows_[3], rows_[7], rows_[11]}; }

  /// Columns are unit vectors.
  Matrix3 direction() const;

  /// Three letters, the directions that i, j, k grow to: "RAS", "LPI" ... For an oblique volume the nearest axes.
  std::string orientation() const { return geometry::orientation(rows_, World::kLetters); }

  Point<World> voxel_to_world(const Voxel& voxel) const { return {geometry::apply(rows_, voxel.ijk)}; }

  Voxel world_to_voxel(const Point<World>& point) const {
    return {geometry::apply(geometry::inverse(rows_), point.mm)};
  }

  /// The affine of a grid whose voxel (i, j, k) sits at voxel `index_map` (i, j, k) of this one.
  Affine of_grid(const Matrix4& index_map) const { return Affine(geometry::multiply(rows_, index_map)); }

  friend bool operator==(const Affine&, const Affine&) = default;

 private:
  Matrix4 rows_ = geometry::kIdentity;
};

/// The same places in the other frame: the only ways between frames.
Affine<Lps> to_lps(const Affine<Ras>& affine);
Affine<Ras> to_ras(const Affine<Lps>& affine);
Point<Lps> to_lps(const Point<Ras>& point);
Point<Ras> to_ras(const Point<Lps>& point);

/// A grid of voxels in the world.
struct Geometry {
  Size3 size{1, 1, 1};
  Affine<Ras> affine;

  friend bool operator==(const Geometry&, const Geometry&) = default;
};

/// Largest distance in mm between the places that two grids give to the same corner voxel; for "is it the same
/// geometry". Infinite when the sizes differ.
double largest_difference_mm(const Geometry& a, const Geometry& b);

/// How the axes of a reoriented grid come from the old: new axis d runs along old axis from[d], backwards when
/// flipped[d].
struct Reorientation {
  std::array<std::size_t, 3> from{0, 1, 2};
  std::array<bool, 3> flipped{};

  friend bool operator==(const Reorientation&, const Reorientation&) = default;
};

/// The permutation and flips that bring a grid to `code`, three letters such as "RAS".
/// @throws DataError when the code does not name each of R/L, A/P, S/I once.
Reorientation reorientation(const Affine<Ras>& affine, std::string_view code);
Reorientation inverse(const Reorientation& reorientation);
/// Every voxel keeps its place in the world.
Geometry reorient(const Geometry& geometry, const Reorientation& reorientation);

/// The grid of another spacing over the same field of view: the outer corner of the first voxel stays where it is,
/// directions stay, the spacing is exactly `spacing_mm`, and the size is the nearest whole number of voxels (at least
/// one).
/// @throws DataError for a spacing that is not positive or gives more than 2^31 voxels along an axis.
Geometry with_spacing(const Geometry& geometry, const Vec3& spacing_mm);

/// The grid of `size` voxels with the same spacing around the same centre; where the difference is odd, the larger part
/// of what is cut off or added lies at the far end, so that padding and then cropping gives the first grid back.
/// @throws DataError when an axis is not positive.
Geometry with_size(const Geometry& geometry, const Size3& size);

template <typename World>
Affine<World> Affine<World>::from_parts(const Matrix3& direction, const Vec3& spacing_mm, const Vec3& origin) {
  Matrix4 rows = geometry::kIdentity;
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) rows[4 * r + c] = direction[r][c] * spacing_mm[c];
    rows[4 * r + 3] = origin[r];
  }
  return Affine(rows);
}

template <typename World>
Matrix3 Affine<World>::direction() const {
  const Vec3 spacing = spacing_mm();
  Matrix3 direction{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) direction[r][c] = rows_[4 * r + c] / spacing[c];
  }
  return direction;
}

}  // namespace medgen
