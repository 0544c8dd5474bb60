// SPDX-License-Identifier: Apache-2.0
#include "core/volume/geometry.h"

#include "core/base/error.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace medgen {
namespace geometry {
namespace {

constexpr double kSmallestSpacing = 1e-6;
constexpr double kLargestSpacing = 1e6;
constexpr double kFarthestOrigin = 1e9;
constexpr double kSmallestVolume = 1e-6;  // of the box spanned by the three unit axes

double determinant(const Matrix4& m) {
  return m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) + m[2] * (m[4] * m[9] - m[5] * m[8]);
}

std::string print(const Matrix4& m) {
  std::string text;
  for (std::size_t row = 0; row < 4; ++row) {
    text += fmt::format("{}[{:.6g} {:.6g} {:.6g} {:.6g}]", row == 0 ? "" : " ", m[4 * row], m[4 * row + 1],
                        m[4 * row + 2], m[4 * row + 3]);
  }
  return text;
}

}  // namespace

Matrix4 multiply(const Matrix4& a, const Matrix4& b) {
  Matrix4 product{};
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t c = 0; c < 4; ++c) {
      for (std::size_t k = 0; k < 4; ++k) product[4 * r + c] += a[4 * r + k] * b[4 * k + c];
    }
  }
  return product;
}

Matrix4 inverse(const Matrix4& m) {
  const double scale = 1.0 / determinant(m);
  Matrix4 inverse = kIdentity;
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t a = (c + 1) % 3, b = (c + 2) % 3, d = (r + 1) % 3, e = (r + 2) % 3;
      inverse[4 * r + c] = scale * (m[4 * a + d] * m[4 * b + e] - m[4 * a + e] * m[4 * b + d]);
    }
  }
  for (std::size_t r = 0; r < 3; ++r) {
    inverse[4 * r + 3] = -(inverse[4 * r] * m[3] + inverse[4 * r + 1] * m[7] + inverse[4 * r + 2] * m[11]);
  }
  return inverse;
}

Vec3 apply(const Matrix4& m, const Vec3& p) {
  Vec3 result{};
  for (std::size_t r = 0; r < 3; ++r) {
    result[r] = m[4 * r] * p[0] + m[4 * r + 1] * p[1] + m[4 * r + 2] * p[2] + m[4 * r + 3];
  }
  return result;
}

Vec3 column_lengths(const Matrix4& m) {
  Vec3 lengths{};
  for (std::size_t c = 0; c < 3; ++c) lengths[c] = std::hypot(m[c], m[4 + c], m[8 + c]);
  return lengths;
}

const Matrix4& validated(const Matrix4& m) {
  if (!std::all_of(m.begin(), m.end(), [](double entry) { return std::isfinite(entry); })) {
    throw DataError("the affine has entries that are not finite: {}", print(m));
  }
  if (m[12] != 0 || m[13] != 0 || m[14] != 0 || m[15] != 1) {
    throw DataError("the last row of an affine must be 0 0 0 1: {}", print(m));
  }
  const Vec3 spacing = column_lengths(m);
  for (const double length : spacing) {
    if (length < kSmallestSpacing || length > kLargestSpacing) {
      throw DataError("the affine gives a voxel spacing of {:.6g} mm, outside {:g} to {:g}: {}", length,
                      kSmallestSpacing, kLargestSpacing, print(m));
    }
  }
  for (const double place : {m[3], m[7], m[11]}) {
    if (std::fabs(place) > kFarthestOrigin) {
      throw DataError("the affine puts the first voxel {:.6g} mm away, more than {:g}: {}", place, kFarthestOrigin,
                      print(m));
    }
  }
  if (std::fabs(determinant(m)) < kSmallestVolume * spacing[0] * spacing[1] * spacing[2]) {
    throw DataError("the affine is singular, its axes lie in one plane: {}", print(m));
  }
  return m;
}

namespace {

/// World axis and sign of each voxel axis, every world axis once: of the six assignments the one with the largest sum
/// of cosines. An assignment must be clearly better than an earlier one, so that rounding does not decide at 45
/// degrees.
struct Axes {
  std::array<std::size_t, 3> world{0, 1, 2};
  std::array<bool, 3> negative{};
};

Axes nearest_axes(const Matrix4& m) {
  constexpr double kClearly = 1e-6;
  const Vec3 spacing = column_lengths(m);
  Axes axes;
  double best = -1;
  std::array<std::size_t, 3> order{0, 1, 2};
  do {
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += std::fabs(m[4 * order[c] + c]) / spacing[c];
    if (sum > best + kClearly) {
      best = sum;
      axes.world = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  for (std::size_t c = 0; c < 3; ++c) axes.negative[c] = m[4 * axes.world[c] + c] < 0;
  return axes;
}

constexpr std::string_view kOpposites = "RLAPSI";

char opposite(char letter) {
  const std::size_t at = kOpposites.find(letter);
  return kOpposites[at ^ 1u];
}

/// The world axes (of RAS) that a code names.
Axes axes_of(std::string_view code) {
  Axes axes;
  std::array<bool, 3> seen{};
  bool valid = code.size() == 3;
  for (std::size_t d = 0; valid && d < 3; ++d) {
    const std::size_t at = kOpposites.find(code[d]);
    valid = at != std::string_view::npos && !seen[at / 2];
    if (!valid) break;
    seen[at / 2] = true;
    axes.world[d] = at / 2;
    axes.negative[d] = at % 2 == 1;
  }
  if (!valid) {
    throw DataError("'{}' is no orientation: three letters, one each of R/L, A/P and S/I, e.g. \"RAS\"", code);
  }
  return axes;
}

}  // namespace

std::string orientation(const Matrix4& m, std::string_view positive_letters) {
  const Axes axes = nearest_axes(m);
  std::string code(3, ' ');
  for (std::size_t c = 0; c < 3; ++c) {
    const char letter = positive_letters[axes.world[c]];
    code[c] = axes.negative[c] ? opposite(letter) : letter;
  }
  return code;
}

}  // namespace geometry

namespace {

/// RAS and LPS differ by the signs of x and y, both ways.
Matrix4 turned(Matrix4 rows) {
  for (std::size_t i = 0; i < 8; ++i) rows[i] = rows[i] == 0 ? 0 : -rows[i];
  return rows;
}

Vec3 turned(const Vec3& p) {
  return {-p[0], -p[1], p[2]};
}

}  // namespace

Affine<Lps> to_lps(const Affine<Ras>& affine) {
  return Affine<Lps>(turned(affine.rows()));
}

Affine<Ras> to_ras(const Affine<Lps>& affine) {
  return Affine<Ras>(turned(affine.rows()));
}

Point<Lps> to_lps(const Point<Ras>& point) {
  return {turned(point.mm)};
}

Point<Ras> to_ras(const Point<Lps>& point) {
  return {turned(point.mm)};
}

double largest_difference_mm(const Geometry& a, const Geometry& b) {
  if (a.size != b.size) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (unsigned corner = 0; corner < 8; ++corner) {
    Voxel voxel;
    for (std::size_t d = 0; d < 3; ++d)
      voxel.ijk[d] = (corner >> d & 1u) != 0 ? static_cast<double>(a.size[d] - 1) : 0.0;
    const Vec3 p = a.affine.voxel_to_world(voxel).mm;
    const Vec3 q = b.affine.voxel_to_world(voxel).mm;
    largest = std::max(largest, std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
  }
  return largest;
}

Reorientation reorientation(const Affine<Ras>& affine, std::string_view code) {
  const geometry::Axes wanted = geometry::axes_of(code);
  const geometry::Axes present = geometry::nearest_axes(affine.rows());
  Reorientation result;
  for (std::size_t d = 0; d < 3; ++d) {
    const auto* at = std::find(present.world.begin(), present.world.end(), wanted.world[d]);
    result.from[d] = static_cast<std::size_t>(at - present.world.begin());
    result.flipped[d] = wanted.negative[d] != present.negative[result.from[d]];
  }
  return result;
}

Reorientation inverse(const Reorientation& reorientation) {
  Reorientation result;
  for (std::size_t d = 0; d < 3; ++d) {
    result.from[reorientation.from[d]] = d;
    result.flipped[reorientation.from[d]] = reorientation.flipped[d];
  }
  return result;
}

Geometry reorient(const Geometry& geometry, const Reorientation& reorientation) {
  Matrix4 index_map{};
  index_map[15] = 1;
  Size3 size{};
  for (std::size_t d = 0; d < 3; ++d) {
    const std::size_t from = reorientation.from[d];
    size[d] = geometry.size[from];
    index_map[4 * from + d] = reorientation.flipped[d] ? -1 : 1;
    index_map[4 * from + 3] = reorientation.flipped[d] ? static_cast<double>(size[d] - 1) : 0;
  }
  return {size, geometry.affine.of_grid(index_map)};
}

Geometry with_spacing(const Geometry& geometry, const Vec3& spacing_mm) {
  constexpr double kMostVoxels = 2147483648.0;
  const Vec3 old = geometry.affine.spacing_mm();
  Matrix4 index_map = geometry::kIdentity;
  Size3 size{};
  for (std::size_t d = 0; d < 3; ++d) {
    const double voxels = static_cast<double>(geometry.size[d]) * old[d] / spacing_mm[d];
    if (!(spacing_mm[d] > 0) || !(voxels < kMostVoxels)) {
      throw DataError("cannot resample {} voxels of {:.6g} mm to a spacing of {:.6g} mm", geometry.size[d], old[d],
                      spacing_mm[d]);
    }
    const double ratio = spacing_mm[d] / old[d];
    size[d] = std::max<std::int64_t>(1, std::llround(voxels));
    index_map[5 * d] = ratio;
    index_map[4 * d + 3] = 0.5 * (ratio - 1);
  }
  return {size, geometry.affine.of_grid(index_map)};
}

Geometry with_size(const Geometry& geometry, const Size3& size) {
  Matrix4 index_map = geometry::kIdentity;
  for (std::size_t d = 0; d < 3; ++d) {
    if (size[d] < 1)
      throw DataError("cannot crop or pad to {}x{}x{} voxels: each must be 1 or more", size[0], size[1], size[2]);
    const std::int64_t difference = geometry.size[d] - size[d];
    index_map[4 * d + 3] =
        static_cast<double>(difference / 2);  // toward zero, so cropping and padding mirror each other
  }
  return {size, geometry.affine.of_grid(index_map)};
}

}  // namespace medgen
