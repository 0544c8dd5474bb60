// SPDX-License-Identifier: Apache-2.0
#include "core/augment/warp.h"

#include "core/augment/draws.h"

#include <algorithm>
#include <cmath>

namespace medgen::augmentation {
namespace {

constexpr Matrix3 kIdentity3 = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

Matrix3 operator*(const Matrix3& a, const Matrix3& b) {
  Matrix3 product{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) product[r][c] = a[r][0] * b[0][c] + a[r][1] * b[1][c] + a[r][2] * b[2][c];
  }
  return product;
}

/// In the plane of the two axes after `axis`.
Matrix3 turn(std::size_t axis, double cosine, double sine) {
  Matrix3 matrix = kIdentity3;
  const std::size_t u = (axis + 1) % 3, v = (axis + 2) % 3;
  matrix[u][u] = matrix[v][v] = cosine;
  matrix[u][v] = -sine;
  matrix[v][u] = sine;
  return matrix;
}

/// Flips; their product is also whether the patch is a mirror image.
Matrix3 draw_flips(const AugmentOptions::Axes& flip, std::uint64_t seed, std::uint64_t number, bool& mirrored) {
  Matrix3 matrix = kIdentity3;
  Draws draws(seed, number, "augment.flip", 3);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (!draws.chance(flip.probability) || !flip.axes[axis]) continue;
    matrix[axis][axis] = -1;
    mirrored = !mirrored;
  }
  return matrix;
}

Matrix3 draw_quarter_turns(const AugmentOptions::Axes& turns, std::uint64_t seed, std::uint64_t number) {
  constexpr std::array<std::array<double, 2>, 3> kTurns = {{{0, 1}, {-1, 0}, {0, -1}}};  // cosine, sine
  Matrix3 matrix = kIdentity3;
  Draws draws(seed, number, "augment.quarter_turn", 6);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const bool wanted = draws.chance(turns.probability) && turns.axes[axis];
    const auto& [cosine, sine] = kTurns[static_cast<std::size_t>(3 * draws.next())];
    if (wanted) matrix = matrix * turn(axis, cosine, sine);
  }
  return matrix;
}

/// Small rotations are rotations of the body: in mm.
Matrix3 draw_rotation(const AugmentOptions::Range& rotate, const Vec3& spacing_mm, std::uint64_t seed,
                      std::uint64_t number) {
  Draws draws(seed, number, "augment.rotate", 4);
  if (!draws.chance(rotate.probability)) return kIdentity3;
  Matrix3 matrix = kIdentity3;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double angle = draws.within(rotate.low, rotate.high);
    matrix = matrix * turn(axis, std::cos(angle), std::sin(angle));
  }
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) matrix[r][c] *= spacing_mm[c] / spacing_mm[r];
  }
  return matrix;
}

double draw_zoom(const AugmentOptions::Range& zoom, std::uint64_t seed, std::uint64_t number) {
  Draws draws(seed, number, "augment.zoom", 2);
  return draws.chance(zoom.probability) ? draws.within(zoom.low, zoom.high) : 1;
}

}  // namespace

Warp draw_warp(const AugmentOptions& options, const Vec3& spacing_mm, const Size3& corner, const Size3& size,
               std::uint64_t seed, std::uint64_t number) {
  Warp warp;
  Matrix3 matrix =
      draw_flips(options.flip, seed, number, warp.mirrored) * draw_quarter_turns(options.quarter_turn, seed, number);
  const Matrix3 rotation = draw_rotation(options.rotate, spacing_mm, seed, number);
  const double zoom = draw_zoom(options.zoom, seed, number);
  const bool on_grid = rotation == kIdentity3 && zoom == 1;
  matrix = matrix * rotation;
  warp.map = geometry::kIdentity;
  for (std::size_t r = 0; r < 3; ++r) {
    // Everything turns round the centre of the box.
    double offset = static_cast<double>(corner[r]) + static_cast<double>(size[r] - 1) / 2;
    for (std::size_t c = 0; c < 3; ++c) {
      warp.map[4 * r + c] = matrix[r][c] / zoom;
      offset -= matrix[r][c] / zoom * static_cast<double>(size[c] - 1) / 2;
    }
    // Flips and quarter turns keep voxels whole, also where an odd axis comes to lie on an even one.
    warp.map[4 * r + 3] = on_grid ? std::floor(offset) : offset;
  }
  Draws draws(seed, number, "augment.elastic", 1);
  if (draws.chance(options.elastic.probability)) {
    warp.displacement = draw_elastic(options.elastic, size, seed, number);
  }
  return warp;
}

}  // namespace medgen::augmentation
