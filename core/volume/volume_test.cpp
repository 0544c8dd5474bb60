// SPDX-License-Identifier: Apache-2.0
#include "core/volume/volume.h"

#include "core/base/error.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

namespace medgen {
namespace {

const Affine<Ras> kOblique({0.68, -0.42, 0.35, -91.25, 0.31, 1.2, -0.6, 126.5, -0.15, 0.3, 2.4, -72.0, 0, 0, 0, 1});

template <typename T>
Volume counting(Shape shape, const Affine<Ras>& affine = kOblique) {
  Tensor voxels(dtype_for<T>(), std::move(shape));
  auto values = voxels.values<T>();
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i % 251);
  return Volume(voxels, affine);
}

bool same_voxels(const Volume& a, const Volume& b) {
  return a.dtype() == b.dtype() && a.voxels().shape() == b.voxels().shape() &&
         std::memcmp(a.voxels().data(), b.voxels().data(), a.voxels().bytes()) == 0;
}

double at(const Volume& volume, std::int64_t i, std::int64_t j, std::int64_t k) {
  const Size3 n = volume.size();
  const Tensor values = volume.voxels().to(DType::F64);
  return values.values<double>()[static_cast<std::size_t>((k * n[1] + j) * n[0] + i)];
}

/// Calls check(voxel in `a`, voxel in `b`) for voxels at the same place.
template <typename Check>
void at_the_same_place(const Volume& a, const Volume& b, Check check) {
  const Size3 n = a.size();
  for (std::int64_t k = 0; k < n[2]; ++k) {
    for (std::int64_t j = 0; j < n[1]; ++j) {
      for (std::int64_t i = 0; i < n[0]; ++i) {
        const Voxel voxel{{static_cast<double>(i), static_cast<double>(j), static_cast<double>(k)}};
        const Vec3 there = b.affine().world_to_voxel(a.affine().voxel_to_world(voxel)).ijk;
        Size3 index{};
        for (std::size_t d = 0; d < 3; ++d) {
          index[d] = std::llround(there[d]);
          REQUIRE(std::fabs(there[d] - static_cast<double>(index[d])) < 1e-9);
        }
        check(Size3{i, j, k}, index);
      }
    }
  }
}

TEST_CASE("volume: only 3 or 4 axes with voxels in them make a volume", "[unit][volume]") {
  REQUIRE(counting<std::uint8_t>({2, 3, 4}).size() == Size3{4, 3, 2});
  REQUIRE(counting<std::uint8_t>({5, 2, 3, 4}).channels() == 5);
  REQUIRE_THROWS_AS(Volume(Tensor::zeros(DType::U8, {2, 3}), {}), DataError);
  REQUIRE_THROWS_AS(Volume(Tensor::zeros(DType::U8, {1, 1, 1, 2, 3}), {}), DataError);
  REQUIRE_THROWS_WITH(Volume(Tensor::zeros(DType::U8, {2, 0, 3}), {}), Catch::Contains("2x0x3"));
  REQUIRE_THROWS_AS(counting<std::uint8_t>({2, 3, 4}).with_voxels(Tensor::zeros(DType::U8, {4, 3, 2})), DataError);
}

TEMPLATE_TEST_CASE("reorient: every voxel keeps its value, type and place, and the way back is exact", "[unit][volume]",
                   std::uint8_t, std::int16_t, float, double, std::int64_t) {
  const Volume volume = counting<TestType>({3, 4, 5});
  for (const char* code : {"RAS", "LPS", "LPI", "SAR", "AIR", "IRP", "PSL"}) {
    const Reorientation there = reorientation(volume.affine(), code);
    const Volume turned = reorient(volume, there);
    REQUIRE(turned.orientation() == code);
    REQUIRE(turned.dtype() == volume.dtype());
    at_the_same_place(volume, turned, [&](const Size3& a, const Size3& b) {
      REQUIRE(at(volume, a[0], a[1], a[2]) == at(turned, b[0], b[1], b[2]));
    });
    const Volume back = reorient(turned, inverse(there));
    REQUIRE(same_voxels(back, volume));
    REQUIRE(largest_difference_mm(back.geometry(), volume.geometry()) < 1e-9);
  }
}

TEST_CASE("reorient: each channel is turned like a volume of its own", "[unit][volume]") {
  const Volume volume = counting<std::int16_t>({2, 3, 4, 5});
  const Volume turned = reorient(volume, "ILP");
  REQUIRE(turned.channels() == 2);
  for (std::int64_t c = 0; c < 2; ++c) {
    const Volume channel(volume.voxels().rows(c, 1).reshape({3, 4, 5}), volume.affine());
    const Volume alone = reorient(channel, "ILP");
    const Tensor part = turned.voxels().rows(c, 1).reshape(alone.voxels().shape());
    REQUIRE(same_voxels(alone, alone.with_voxels(part)));
  }
}

TEST_CASE("center_crop_or_pad: kept voxels keep value and place, the rest is filled", "[unit][volume]") {
  const Volume volume = counting<std::int16_t>({4, 5, 6});
  const Volume cropped = center_crop_or_pad(volume, {3, 2, 4});
  REQUIRE(cropped.size() == Size3{3, 2, 4});
  at_the_same_place(cropped, volume, [&](const Size3& a, const Size3& b) {
    REQUIRE(at(cropped, a[0], a[1], a[2]) == at(volume, b[0], b[1], b[2]));
  });
  const Volume padded = center_crop_or_pad(volume, {9, 8, 7}, -1000);
  REQUIRE(at(padded, 0, 0, 0) == -1000);
  at_the_same_place(volume, padded, [&](const Size3& a, const Size3& b) {
    REQUIRE(at(volume, a[0], a[1], a[2]) == at(padded, b[0], b[1], b[2]));
  });
  REQUIRE(same_voxels(center_crop_or_pad(padded, volume.size()), volume));
  REQUIRE(center_crop_or_pad(counting<float>({2, 4, 5, 6}), {8, 2, 3}).voxels().shape() == Shape{2, 3, 2, 8});
}

TEST_CASE("center_crop_or_pad: a fill that the voxels cannot hold is refused", "[unit][volume]") {
  const Volume volume = counting<std::uint8_t>({2, 2, 2});
  REQUIRE_THROWS_WITH(center_crop_or_pad(volume, {4, 4, 4}, -1000), Catch::Contains("-1000") && Catch::Contains("U8"));
  REQUIRE_THROWS_AS(center_crop_or_pad(volume, {4, 4, 4}, 0.5), DataError);
  REQUIRE_THROWS_AS(center_crop_or_pad(volume, {4, 4, 4}, 256), DataError);
  REQUIRE_THROWS_AS(center_crop_or_pad(volume, {4, 0, 4}), DataError);
}

TEST_CASE("resample: onto its own, a turned or a shifted grid changes no value", "[unit][volume]") {
  const Volume volume = counting<std::int64_t>({4, 5, 6});
  for (const Interpolation how : {Interpolation::Linear, Interpolation::Nearest}) {
    REQUIRE(same_voxels(resample(volume, volume.geometry(), how), volume));
    const Volume turned = reorient(volume, "IRP");
    REQUIRE(same_voxels(resample(volume, turned.geometry(), how), turned));
    const Volume padded = center_crop_or_pad(volume, {8, 9, 3}, -7);
    REQUIRE(same_voxels(resample(volume, padded.geometry(), how, -7), padded));
  }
}

TEST_CASE("resample: linear reproduces a linear function of the world, on an oblique grid too", "[unit][volume]") {
  Volume volume = counting<double>({12, 12, 12});
  const auto ramp = [](const Vec3& p) { return 0.5 * p[0] - 2.0 * p[1] + 0.25 * p[2] + 3.0; };
  auto values = volume.voxels().values<double>();
  for (std::size_t n = 0; n < values.size(); ++n) {
    const Voxel voxel{{static_cast<double>(n % 12), static_cast<double>(n / 12 % 12), static_cast<double>(n / 144)}};
    values[n] = ramp(volume.affine().voxel_to_world(voxel).mm);
  }
  const Vec3 centre = volume.affine().voxel_to_world({{5.5, 5.5, 5.5}}).mm;
  const Geometry target{{4, 4, 4}, Affine<Ras>::from_spacing({0.5, 0.4, 0.3}, centre)};
  const Volume sampled = resample(volume, target, Interpolation::Linear);
  const auto result = sampled.voxels().values<double>();
  for (std::size_t n = 0; n < result.size(); ++n) {
    const Voxel voxel{{static_cast<double>(n % 4), static_cast<double>(n / 4 % 4), static_cast<double>(n / 16)}};
    REQUIRE(result[n] == Approx(ramp(target.affine.voxel_to_world(voxel).mm)).margin(1e-9));
  }
}

TEST_CASE("resample: halving the spacing in x gives the values of align-corners-false interpolation",
          "[unit][volume]") {
  const std::vector<float> line = {0, 4, 8};
  const Volume volume(Tensor::from<float>(line, {1, 1, 3}), Affine<Ras>());
  const Volume fine = resample_to_spacing(volume, {0.5, 1, 1}, Interpolation::Linear);
  const auto values = fine.voxels().values<float>();
  REQUIRE(std::vector<float>(values.begin(), values.end()) == std::vector<float>{0, 1, 3, 5, 7, 8});
  const Volume blocks = resample_to_spacing(volume, {0.5, 1, 1}, Interpolation::Nearest);
  const auto labels = blocks.voxels().values<float>();
  REQUIRE(std::vector<float>(labels.begin(), labels.end()) == std::vector<float>{0, 0, 4, 4, 8, 8});
}

TEST_CASE("resample: integers are rounded, half-floats survive, outside is filled", "[unit][volume]") {
  const std::vector<std::int16_t> line = {-3, 4};
  const Volume volume(Tensor::from<std::int16_t>(line, {1, 1, 2}), Affine<Ras>());
  const Geometry target{{1, 1, 1}, Affine<Ras>::from_spacing({1, 1, 1}, {0.25, 0, 0})};
  REQUIRE(at(resample(volume, target, Interpolation::Linear), 0, 0, 0) == -1);
  const Volume half = volume.with_voxels(volume.voxels().to(DType::F16));
  const Volume sampled = resample(half, target, Interpolation::Linear);
  REQUIRE(sampled.dtype() == DType::F16);
  REQUIRE(at(sampled, 0, 0, 0) == -1.25);
  const Geometry far_away{{1, 1, 1}, Affine<Ras>::from_spacing({1, 1, 1}, {1.75, 0, 0})};
  REQUIRE(at(resample(volume, far_away, Interpolation::Linear, -1000), 0, 0, 0) == -1000);
  REQUIRE_THROWS_AS(resample(volume, far_away, Interpolation::Linear, 0.5), DataError);
}

TEST_CASE("resample: nearest never makes a new label", "[unit][volume]") {
  Volume volume = counting<std::uint8_t>({6, 7, 8});
  for (std::uint8_t& value : volume.voxels().values<std::uint8_t>()) value = value % 3 == 0 ? 0 : 40;
  const Volume sampled = resample_to_spacing(volume, {0.4, 0.9, 1.7}, Interpolation::Nearest);
  for (const std::uint8_t value : sampled.voxels().values<std::uint8_t>()) REQUIRE((value == 0 || value == 40));
  const Volume flags = volume.with_voxels(volume.voxels().to(DType::Bool));
  REQUIRE(resample_to_spacing(flags, {1, 1, 1}, Interpolation::Nearest).dtype() == DType::Bool);
  REQUIRE_THROWS_AS(resample_to_spacing(flags, {1, 1, 1}, Interpolation::Linear), DataError);
  REQUIRE_THROWS_AS(resample_to_spacing(volume, {0, 1, 1}, Interpolation::Nearest), DataError);
}

TEST_CASE("rescale: to smaller voxels it is linear interpolation, on the same grid", "[unit][volume]") {
  const Volume volume = counting<std::int16_t>({2, 4, 5, 6});
  const Vec3 old = volume.spacing_mm();
  const Vec3 fine = {old[0] / 1.7, old[1], old[2] / 3};
  const Volume scaled = rescale(volume, fine);
  const Volume wide = volume.with_voxels(volume.voxels().to(DType::F32));
  const Volume expected = resample_to_spacing(wide, fine, Interpolation::Linear);
  REQUIRE(scaled.geometry() == expected.geometry());
  REQUIRE(scaled.channels() == 2);
  for (std::size_t i = 0; i < static_cast<std::size_t>(scaled.voxels().size()); ++i)
    REQUIRE(scaled.voxels().values<float>()[i] == Approx(expected.voxels().values<float>()[i]).margin(1e-4));
}

TEST_CASE("rescale: the outer corner stays, and the voxel size is the one asked for", "[unit][volume]") {
  const Volume volume = counting<float>({9, 10, 11});
  const Volume scaled = rescale(volume, {1.5, 1.5, 3});
  for (std::size_t d = 0; d < 3; ++d) {
    const double extent = static_cast<double>(volume.size()[d]) * volume.spacing_mm()[d];
    CHECK(scaled.spacing_mm()[d] == Approx(d == 2 ? 3 : 1.5).epsilon(1e-12));
    CHECK(static_cast<double>(scaled.size()[d]) * scaled.spacing_mm()[d] == Approx(extent).margin(1.5));
  }
  const Vec3 before = volume.affine().voxel_to_world({{-0.5, -0.5, -0.5}}).mm;
  const Vec3 after = scaled.affine().voxel_to_world({{-0.5, -0.5, -0.5}}).mm;
  for (std::size_t d = 0; d < 3; ++d) CHECK(after[d] == Approx(before[d]).margin(1e-9));
}

TEST_CASE("rescale: larger voxels average, so that a pattern finer than them is its mean", "[unit][volume]") {
  Tensor voxels(DType::F32, {4, 4, 32});
  for (std::size_t i = 0; i < 512; ++i) voxels.values<float>()[i] = i % 2 == 0 ? 100.0F : 0.0F;
  const Volume stripes(voxels, Affine<Ras>());
  const Volume coarse = rescale(stripes, {4, 1, 1});
  REQUIRE(coarse.size() == Size3{8, 4, 4});
  for (std::int64_t i = 1; i < 7; ++i) CHECK(at(coarse, i, 1, 1) == Approx(50));
  const Volume picked = resample_to_spacing(stripes, {3, 1, 1}, Interpolation::Linear);
  CHECK(at(picked, 2, 1, 1) != Approx(50).margin(20));
  CHECK(at(rescale(stripes, {3, 1, 1}), 2, 1, 1) == Approx(50).margin(6));
}

TEST_CASE("rescale: twice the voxel size has the weights 1 3 3 1, with the border repeated", "[unit][volume]") {
  const std::vector<float> line = {0, 8, 16, 80};
  const Volume coarse = rescale(Volume(Tensor::from<float>(line, {1, 1, 4}), Affine<Ras>()), {2, 1, 1});
  CHECK(at(coarse, 0, 0, 0) == (3 * 8 + 16) / 8.0);
  CHECK(at(coarse, 1, 0, 0) == (8 + 3 * 16 + 3 * 80 + 80) / 8.0);
}

TEST_CASE("rescale: constants and, away from the border, slopes stay; values stay in range", "[unit][volume]") {
  const double ratio = GENERATE(0.3, 1.0, 1.25, 2.0, 5.0, 40.0);
  Tensor line(DType::F32, {1, 1, 40});
  for (std::size_t i = 0; i < 40; ++i) line.values<float>()[i] = static_cast<float>(i);
  const Volume slope(line, Affine<Ras>());
  const Volume scaled = rescale(slope, {ratio, 1, 1});
  for (std::int64_t i = 0; i < scaled.size()[0]; ++i) {
    const double centre = ratio * (static_cast<double>(i) + 0.5) - 0.5;
    CHECK((at(scaled, i, 0, 0) >= 0 && at(scaled, i, 0, 0) <= 39));
    if (centre > ratio && centre < 39 - ratio) CHECK(at(scaled, i, 0, 0) == Approx(centre).margin(0.1 * ratio));
  }
  const Volume flat =
      rescale(slope.with_voxels(Tensor::from<float>(std::vector<float>(40, 7), {1, 1, 40})), {ratio, 1, 1});
  for (const float value : flat.voxels().values<float>()) CHECK(value == 7);
}

TEST_CASE("rescale: its time", "[.][time]") {
  const Volume scan = counting<std::int16_t>({240, 512, 512}, Affine<Ras>::from_spacing({0.7, 0.7, 1.5}));
  for (const double mm : {0.6, 1.0, 3.0}) {
    const auto start = std::chrono::steady_clock::now();
    rescale(scan, {mm, mm, mm});
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    WARN("512 x 512 x 240 of 0.7 x 0.7 x 1.5 mm to " << mm << " mm: " << spent.count() << " s");
  }
}

TEST_CASE("rescale: no voxel size of nothing", "[unit][volume]") {
  const Volume volume = counting<float>({4, 5, 6});
  CHECK_THROWS_AS(rescale(volume, {0, 1, 1}), DataError);
  CHECK_THROWS_AS(rescale(volume, {1, -1, 1}), DataError);
  CHECK_THROWS_AS(rescale(volume, {1, 1, std::nan("")}), DataError);
}

}  // namespace
}  // namespace medgen
