// SPDX-License-Identifier: Apache-2.0
#include "core/volume/geometry.h"

#include "core/base/error.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <type_traits>

namespace medgen {
namespace {

// Mixing frames does not compile.
static_assert(!std::is_constructible_v<Affine<Ras>, Affine<Lps>> && !std::is_assignable_v<Affine<Ras>&, Affine<Lps>>);
static_assert(!std::is_constructible_v<Point<Ras>, Point<Lps>> && !std::is_assignable_v<Point<Lps>&, Point<Ras>>);
static_assert(!std::is_invocable_v<decltype(&Affine<Ras>::world_to_voxel), Affine<Ras>, Point<Lps>>);

Matrix3 rotation(double ax, double ay, double az) {
  const double cx = std::cos(ax), sx = std::sin(ax), cy = std::cos(ay), sy = std::sin(ay), cz = std::cos(az),
               sz = std::sin(az);
  return {{{cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz},
           {cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz},
           {-sy, sx * cy, cx * cy}}};
}

Affine<Ras> oblique() {
  return Affine<Ras>::from_parts(rotation(0.3, -0.2, 0.4), {0.7, 1.3, 2.5}, {-91.25, 126.5, -72.0});
}

void require_near(const Vec3& a, const Vec3& b, double tolerance) {
  for (std::size_t d = 0; d < 3; ++d) REQUIRE(std::fabs(a[d] - b[d]) <= tolerance);
}

TEST_CASE("affine: voxel to world and back is the identity, oblique ones included", "[unit][volume]") {
  const Affine<Ras> affine = oblique();
  const Voxel voxel{{12.5, -3.0, 400.0}};
  require_near(affine.world_to_voxel(affine.voxel_to_world(voxel)).ijk, voxel.ijk, 1e-9);
  require_near(affine.spacing_mm(), {0.7, 1.3, 2.5}, 1e-12);
  require_near(affine.origin(), {-91.25, 126.5, -72.0}, 0);
  require_near(
      Affine<Ras>::from_parts(affine.direction(), affine.spacing_mm(), affine.origin()).voxel_to_world(voxel).mm,
      affine.voxel_to_world(voxel).mm, 1e-9);
}

TEST_CASE("affine: LPS and RAS name the same place, and going there and back changes no bit", "[unit][volume]") {
  const Affine<Ras> ras = oblique();
  const Affine<Lps> lps = to_lps(ras);
  const Voxel voxel{{3, 5, 7}};
  REQUIRE(to_ras(lps.voxel_to_world(voxel)).mm == ras.voxel_to_world(voxel).mm);
  REQUIRE(to_ras(lps) == ras);
  REQUIRE(lps.orientation() == ras.orientation());
  REQUIRE(Affine<Lps>().orientation() == "LPS");
  REQUIRE(to_ras(Affine<Lps>()).orientation() == "LPS");
}

TEST_CASE("orientation: names the world axis that each voxel axis is nearest to", "[unit][volume]") {
  REQUIRE(Affine<Ras>().orientation() == "RAS");
  REQUIRE(Affine<Ras>({-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1}).orientation() == "LPI");
  REQUIRE(Affine<Ras>({0, 0, 2, 0, 3, 0, 0, 0, 0, -4, 0, 0, 0, 0, 0, 1}).orientation() == "AIR");
  REQUIRE(oblique().orientation() == "RAS");
}

TEST_CASE("reorientation: reaches each of the 48 codes and its inverse leads back to the same grid", "[unit][volume]") {
  const Geometry start{{5, 6, 7}, oblique()};
  int codes = 0;
  std::array<std::size_t, 3> order{0, 1, 2};
  constexpr std::array<std::string_view, 3> kPairs = {"RL", "AP", "SI"};
  do {
    for (unsigned signs = 0; signs < 8; ++signs) {
      std::string code;
      for (std::size_t d = 0; d < 3; ++d) code += kPairs[order[d]][signs >> d & 1u];
      const Reorientation there = reorientation(start.affine, code);
      const Geometry turned = reorient(start, there);
      REQUIRE(turned.affine.orientation() == code);
      REQUIRE(largest_difference_mm(reorient(turned, inverse(there)), start) < 1e-9);
      REQUIRE(inverse(inverse(there)) == there);
      ++codes;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  REQUIRE(codes == 48);
}

TEST_CASE("reorientation: a code that is none is refused with an example", "[unit][volume]") {
  for (const char* code : {"", "RA", "RASS", "RAR", "RLS", "ras", "XYZ"}) {
    REQUIRE_THROWS_WITH(reorientation(Affine<Ras>(), code), Catch::Contains("\"RAS\"") && Catch::Contains(code));
  }
}

TEST_CASE("affine: what is not an invertible map of millimetres is refused by name", "[unit][volume]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const auto with = [](std::size_t at, double value) {
    Matrix4 rows = geometry::kIdentity;
    rows[at] = value;
    return rows;
  };
  REQUIRE_THROWS_WITH(Affine<Ras>(with(3, nan)), Catch::Contains("not finite"));
  REQUIRE_THROWS_WITH(Affine<Ras>(with(5, inf)), Catch::Contains("not finite"));
  REQUIRE_THROWS_WITH(Affine<Ras>(with(0, 0)), Catch::Contains("spacing"));
  REQUIRE_THROWS_WITH(Affine<Ras>(with(0, 1e30)), Catch::Contains("spacing"));
  REQUIRE_THROWS_WITH(Affine<Ras>(with(7, 1e12)), Catch::Contains("away"));
  REQUIRE_THROWS_WITH(Affine<Ras>(with(12, 1)), Catch::Contains("last row"));
  REQUIRE_THROWS_WITH(Affine<Ras>({1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}), Catch::Contains("singular"));
  REQUIRE_THROWS_AS(Affine<Ras>(Matrix4{}), DataError);
}

TEST_CASE("with_spacing: keeps the field of view's first corner and gives the exact spacing", "[unit][volume]") {
  const Geometry grid{{10, 20, 30}, oblique()};
  const Geometry finer = with_spacing(grid, {0.35, 1.3, 5.0});
  REQUIRE(finer.size == Size3{20, 20, 15});
  require_near(finer.affine.spacing_mm(), {0.35, 1.3, 5.0}, 1e-12);
  const Voxel corner{{-0.5, -0.5, -0.5}};
  require_near(finer.affine.voxel_to_world(corner).mm, grid.affine.voxel_to_world(corner).mm, 1e-9);
  const Voxel end{{19.5, 19.5, 14.5}};
  require_near(finer.affine.voxel_to_world(end).mm, grid.affine.voxel_to_world({{9.5, 19.5, 29.5}}).mm, 1e-9);
  REQUIRE(with_spacing(grid, {100, 100, 100}).size == Size3{1, 1, 1});
  for (const double bad : {0.0, -1.0, 1e-12, std::numeric_limits<double>::quiet_NaN()}) {
    REQUIRE_THROWS_AS(with_spacing(grid, {bad, 1, 1}), DataError);
  }
}

TEST_CASE("with_size: padding and cropping back gives the first grid", "[unit][volume]") {
  const Geometry grid{{4, 5, 6}, oblique()};
  for (const Size3 size : {Size3{7, 8, 9}, Size3{8, 8, 6}, Size3{5, 6, 7}}) {
    REQUIRE(largest_difference_mm(with_size(with_size(grid, size), grid.size), grid) < 1e-9);
  }
  REQUIRE_THROWS_AS(with_size(grid, {0, 1, 1}), DataError);
  REQUIRE_THROWS_AS(with_size(grid, {1, 1, -1}), DataError);
}

TEST_CASE("axis order: sizes, shapes and the affine that plugins see say the same", "[unit][volume]") {
  REQUIRE(xyz_of(Shape{2, 3, 4, 5}) == Size3{5, 4, 3});
  REQUIRE(zyx_of(Size3{5, 4, 3}) == Shape{3, 4, 5});
  REQUIRE(zyx_of(Shape{2}, Size3{5, 4, 3}) == Shape{2, 3, 4, 5});
  REQUIRE_THROWS_AS(xyz_of(Shape{2, 3}), DataError);
  medgen_space_t space = abi_space(oblique());
  REQUIRE(affine_of(space) == oblique());
  space.frame = MEDGEN_FRAME_LPS;
  REQUIRE(affine_of(space).origin()[0] == -oblique().origin()[0]);
  space.frame = 7;
  REQUIRE_THROWS_WITH(affine_of(space), Catch::Contains("frame 7"));
}

}  // namespace
}  // namespace medgen
