// SPDX-License-Identifier: Apache-2.0
#include "core/augment/augment.h"

#include "core/augment/intensity.h"
#include "core/augment/warp.h"
#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/config/schema.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

namespace medgen {
namespace {

using Catch::Contains;

Patch pattern(const Size3& size = {8, 7, 6}, const Vec3& spacing = {1, 1, 1}) {
  const Shape shape = {size[2], size[1], size[0]};
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  std::vector<std::uint8_t> ids(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 37 % 101) / 101;
    ids[i] = static_cast<std::uint8_t>(i * 13 % 5 * 3);
  }
  const auto affine = Affine<Ras>::from_spacing(spacing, {-5, 4, 3});
  return {Volume(Tensor::from<float>(values, shape), affine), Volume(Tensor::from<std::uint8_t>(ids, shape), affine)};
}

bool same(const Volume& a, const Volume& b) {
  return a.dtype() == b.dtype() && a.geometry() == b.geometry() &&
         std::memcmp(a.voxels().data(), b.voxels().data(), a.voxels().bytes()) == 0;
}

bool same(const Patch& a, const Patch& b) {
  return same(a.image, b.image) && same(*a.label, *b.label);
}

float at(const Volume& volume, std::int64_t x, std::int64_t y, std::int64_t z) {
  const Size3 size = volume.size();
  return volume.voxels().values<float>()[static_cast<std::size_t>((z * size[1] + y) * size[0] + x)];
}

AugmentOptions read(const std::string& text, const LabelTable& labels = {}) {
  const ConfigNode node = parse_config(text, "augment.json", {});
  Schema::parse(AugmentOptions::schema(), "schema").validate(node);
  return AugmentOptions::read(node, labels);
}

AugmentOptions everything() {
  AugmentOptions options = read(R"({"preset": "maisi-mr", "elastic": {"probability": 1, "spacing_voxels": 4}})");
  for (auto* range : {&options.rotate, &options.zoom, &options.bias_field, &options.gibbs, &options.gamma,
                      &options.scale_intensity, &options.shift_intensity}) {
    range->probability = 1;
  }
  options.histogram_shift.probability = 1;
  return options;
}

TEST_CASE("augment: without options a patch stays bit for bit", "[unit][augment]") {
  const Patch patch = pattern();
  CHECK(same(augment(patch, AugmentOptions(), 1, 2), patch));
  CHECK(same(augment(patch, read("{}"), 1, 2), patch));
}

TEST_CASE("augment: a box is cut out, and what lies outside is 0", "[unit][augment]") {
  const Patch patch = pattern();
  const Patch cut = augment(patch, {-1, 2, 3}, {3, 2, 5}, {}, 1, 2);
  CHECK(at(cut.image, 0, 0, 0) == 0);
  CHECK(at(cut.image, 1, 0, 0) == at(patch.image, 0, 2, 3));
  CHECK(at(cut.image, 2, 1, 2) == at(patch.image, 1, 3, 5));
  CHECK(at(cut.image, 2, 1, 3) == 0);
  const auto first = cut.image.affine().voxel_to_world({{1, 0, 0}}).mm;
  CHECK(first == patch.image.affine().voxel_to_world({{0, 2, 3}}).mm);
}

TEST_CASE("augment: flips and quarter turns only move voxels, image and label alike", "[unit][augment]") {
  AugmentOptions options;
  options.flip = {0.5, {true, true, true}};
  options.quarter_turn = {0.5, {true, true, true}};
  const Patch patch = pattern({6, 6, 6});
  const auto sorted = [](const Volume& volume) {
    const auto values = volume.voxels().values<float>();
    std::vector<float> all(values.begin(), values.end());
    std::sort(all.begin(), all.end());
    return all;
  };
  std::size_t changed = 0;
  for (std::uint64_t number = 0; number < 40; ++number) {
    const Patch turned = augment(patch, options, 7, number);
    REQUIRE(sorted(turned.image) == sorted(patch.image));
    changed += !same(turned, patch);
    // The label of every voxel is still the one that belongs to its value.
    const Patch both = {patch.image, patch.image};
    const Patch moved = augment(both, options, 7, number);
    REQUIRE(same(moved.image, *moved.label));
  }
  CHECK(changed > 35);
}

TEST_CASE("augment: a flip turns the listed axes only, half of the time", "[unit][augment]") {
  AugmentOptions options;
  options.flip = {0.5, {false, true, false}};
  const Patch patch = pattern();
  int flips = 0;
  for (std::uint64_t number = 0; number < 400; ++number) {
    const Volume image = augment(patch, options, 3, number).image;
    const bool flipped = at(image, 2, 0, 4) == at(patch.image, 2, 6, 4);
    REQUIRE((flipped || same(image, patch.image)));
    flips += flipped;
  }
  CHECK(flips > 150);
  CHECK(flips < 250);
}

TEST_CASE("augment: a known rotation in anisotropic voxels is a rotation in mm", "[unit][augment]") {
  const double angle = 0.1;
  AugmentOptions options;
  options.rotate = {1, angle, angle};
  const Vec3 spacing = {1, 2, 3};
  const auto warp = augmentation::draw_warp(options, spacing, {0, 0, 0}, {9, 9, 9}, 1, 1);
  Matrix3 mm{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) mm[r][c] = warp.map[4 * r + c] * spacing[r] / spacing[c];
  }
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = 0; b < 3; ++b) {
      CHECK(mm[a][0] * mm[b][0] + mm[a][1] * mm[b][1] + mm[a][2] * mm[b][2] == Approx(a == b).margin(1e-12));
    }
  }
  // Rx Ry Rz of one angle: the trace is that of their product.
  const double c = std::cos(angle), s = std::sin(angle);
  CHECK(mm[0][0] + mm[1][1] + mm[2][2] == Approx(c * c + (c * c - s * s * s) + c * c).margin(1e-12));
  const Vec3 centre = geometry::apply(warp.map, {4, 4, 4});
  for (const double place : centre) CHECK(place == Approx(4));
}

TEST_CASE("augment: zoom above 1 enlarges what is seen", "[unit][augment]") {
  AugmentOptions options;
  options.zoom = {1, 2, 2};
  const auto warp = augmentation::draw_warp(options, {1, 1, 1}, {0, 0, 0}, {9, 9, 9}, 1, 1);
  CHECK(geometry::apply(warp.map, {0, 4, 8}) == Vec3{2, 4, 6});
}

TEST_CASE("augment: elastic displacements are smooth, of the size asked for, and never fold", "[unit][augment]") {
  const AugmentOptions::Elastic options{1, 6, GENERATE(0.5, 50.0)};
  const Size3 size = {24, 20, 16};
  const Displacement field = augmentation::draw_elastic(options, size, 5, 6);
  std::vector<Vec3> row(24), next(24);
  double largest = 0;
  for (std::int64_t k = 0; k < size[2]; ++k) {
    for (std::int64_t j = 0; j + 1 < size[1]; ++j) {
      field(j, k, row);
      field(j + 1, k, next);
      for (std::size_t i = 0; i < row.size(); ++i) {
        // Voxels keep their order along an axis, or space would fold.
        REQUIRE(1 + next[i][1] - row[i][1] > 0);
        if (i > 0) REQUIRE(1 + row[i][0] - row[i - 1][0] > 0);
        for (const double d : row[i]) largest = std::max(largest, std::fabs(d));
      }
    }
  }
  CHECK(largest > 0.2 * std::min(options.sigma_voxels, 2.4));
  CHECK(largest <= 0.4 * options.spacing_voxels);
}

TEST_CASE("augment: no new label ids, finite values, the same in every thread", "[unit][augment]") {
  const AugmentOptions options = everything();
  const Patch patch = pattern({16, 13, 11}, {1, 1.5, 3});
  const auto known = label_ids(patch.label->voxels());
  std::vector<Patch> alone(8), together(8);
  for (std::size_t n = 0; n < alone.size(); ++n) alone[n] = augment(patch, options, 9, n);
  {
    std::vector<std::jthread> team;
    for (std::size_t n = 0; n < together.size(); ++n) {
      team.emplace_back([&, n] { together[n] = augment(patch, options, 9, n); });
    }
  }
  for (std::size_t n = 0; n < alone.size(); ++n) {
    REQUIRE(same(alone[n], together[n]));
    REQUIRE(alone[n].label->dtype() == DType::U8);
    const auto ids = label_ids(alone[n].label->voxels());
    REQUIRE(std::includes(known.begin(), known.end(), ids.begin(), ids.end()));
    for (const float value : alone[n].image.voxels().values<float>()) REQUIRE(std::isfinite(value));
    REQUIRE_FALSE(same(alone[n], augment(patch, options, 9, n + 100)));
    REQUIRE_FALSE(same(alone[n], augment(patch, options, 10, n)));
  }
}

TEST_CASE("augment: switching one change off leaves the others as they were", "[unit][augment]") {
  AugmentOptions options = everything();
  AugmentOptions still = options;
  still.bias_field = still.gibbs = still.gamma = {};
  const Patch patch = pattern({16, 13, 11});
  CHECK(same(*augment(patch, options, 9, 4).label, *augment(patch, still, 9, 4).label));
}

TEST_CASE("augment: labels change places in a mirror, and only there", "[unit][augment]") {
  const LabelTable labels({{3, "left kidney"}, {6, "right kidney"}, {9, "liver"}});
  AugmentOptions options = read(R"({"flip": {"probability": 1, "axes": ["x"]},
                                    "mirrored_labels": [["left kidney", "right kidney"]]})",
                                labels);
  const Patch patch = pattern();
  const auto id = [](const Patch& p, std::size_t i) { return p.label->voxels().values<std::uint8_t>()[i]; };
  const Patch mirror = augment(patch, options, 1, 1);
  for (std::size_t x = 0; x < 8; ++x) {
    const auto before = id(patch, 7 - x);
    CHECK(id(mirror, x) == (before == 3 ? 6 : before == 6 ? 3 : before));
  }
  options.flip.axes = {true, true, false};  // a turn by 180 degrees is no mirror
  CHECK(id(augment(patch, options, 1, 1), 0) == id(patch, 55));
  CHECK_FALSE(mirror_warning(options, labels));
  options.mirrored_labels.clear();
  CHECK_THAT(mirror_warning(options, labels).value(), Contains("left kidney") && Contains("2 labels"));
  CHECK_FALSE(mirror_warning(AugmentOptions(), labels));
}

Tensor published() {
  std::vector<float> values(60);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 37 % 61) / 61;
  return Tensor::from<float>(values, {3, 4, 5});
}

void require_near(const Tensor& image, const std::vector<double>& expected) {
  constexpr std::array<std::size_t, 6> kPlaces = {0, 7, 23, 31, 44, 59};
  for (std::size_t i = 0; i < kPlaces.size(); ++i) {
    CHECK(image.values<float>()[kPlaces[i]] == Approx(expected[i]).epsilon(2e-6).margin(1e-6));
  }
}

TEST_CASE("augment: Gibbs ringing, contrast and bias field have MONAI 1.6.1's numbers", "[unit][augment]") {
  Tensor image = published();
  SECTION("Gibbs 0.6") {
    augmentation::apply_gibbs(image, 0.6);
    require_near(image, {0.3741804, 0.5180056, 0.5709926, 0.5143898, 0.4632514, 0.4754371});
  }
  SECTION("Gibbs 0.3") {
    augmentation::apply_gibbs(image, 0.3);
    require_near(image, {0, 0.2459016, 0.8508197, 0.8341804, 0.6885247, 0.7868854});
  }
  SECTION("gamma 1.7") {
    augmentation::apply_gamma(image, 1.7);
    require_near(image, {0.0, 0.09317928, 0.9285211, 0.6971039, 0.5363991, 0.6730918});
  }
  SECTION("bias field") {
    std::vector<double> coefficients;
    for (int i = 0; i < 20; ++i) coefficients.push_back(0.3 * (i * 7 % 20) / 20);
    augmentation::apply_bias_field(image, coefficients);
    require_near(image, {0.0, 0.1911895, 0.8472637, 0.7067527, 1.798217, 13.6035});
  }
  SECTION("a histogram map whose knots stay is no change") {
    augmentation::apply_histogram_map(image, std::vector<double>{0, 0.25, 0.5, 0.75, 1});
    require_near(image, {0.0, 0.2459016, 0.9508197, 0.8032787, 0.6885246, 0.7868853});
  }
}

TEST_CASE("augment: a constant image survives every change of contrast", "[unit][augment]") {
  Patch patch = pattern();
  std::fill_n(patch.image.voxels().values<float>().data(), patch.image.voxels().size(), 0.5F);
  AugmentOptions options;
  options.gamma = {1, 0.5, 2};
  options.histogram_shift = {1, 10};
  CHECK(same(augment(patch, options, 1, 1).image, patch.image));
}

TEST_CASE("augment: intensities are scaled and shifted evenly within their ranges", "[unit][augment]") {
  AugmentOptions options;
  options.shift_intensity = {0.3, -0.05, 0.05};
  const Patch patch = pattern({2, 2, 2});
  double sum = 0, squares = 0;
  int shifted = 0;
  for (std::uint64_t n = 0; n < 2000; ++n) {
    const double shift = at(augment(patch, options, 1, n).image, 0, 0, 0) - at(patch.image, 0, 0, 0);
    if (shift == 0) continue;
    ++shifted;
    sum += shift;
    squares += shift * shift;
    REQUIRE(std::fabs(shift) <= 0.0501);
  }
  CHECK(shifted == Approx(600).margin(80));
  CHECK(sum / shifted == Approx(0).margin(0.004));
  CHECK(std::sqrt(squares / shifted) == Approx(0.05 / std::sqrt(3)).epsilon(0.08));
}

TEST_CASE("augment: the presets are those of the published training, and keys replace their parts", "[unit][augment]") {
  const AugmentOptions ct = read(R"({"preset": "maisi-ct"})");
  CHECK(ct.flip.probability == 0.5);
  CHECK(ct.gibbs.probability == 0);
  CHECK(ct.shift_intensity.high == 0.05);
  const AugmentOptions mr =
      read(R"({"preset": "maisi-mr", "gibbs": {"probability": 0}, "flip": {"probability": 1, "axes": []}})");
  CHECK(mr.gibbs.probability == 0);
  CHECK(mr.gamma.high == 2);
  CHECK(mr.flip.axes == std::array{false, false, false});
}

TEST_CASE("augment: mistakes in the options are refused with their place", "[unit][augment]") {
  const auto refused = [](const std::string& text, const std::string& message) {
    REQUIRE_THROWS_AS(read(text), ConfigError);
    REQUIRE_THROWS_WITH(read(text), Contains(message) && Contains("augment.json:1"));
  };
  refused(R"({"flips": {}})", "flip");
  refused(R"({"flip": {"probability": 1.5, "axes": ["x"]}})", "probability");
  refused(R"({"flip": {"probability": 1, "axes": ["w"]}})", "axes");
  refused(R"({"zoom": {"probability": 1, "range": [1.5, 0.5]}})", "must rise");
  refused(R"({"zoom": {"probability": 1, "range": [0, 1]}})", "above 0");
  refused(R"({"gibbs": {"probability": 1, "range": [0.5, 1.5]}})", "between 0 and 1");
  refused(R"({"gamma": {"probability": 1, "range": [-1, 1]}})", "above 0");
  refused(R"({"elastic": {"probability": 1, "spacing_voxels": 0}})", "spacing_voxels");
  const std::string pairs = R"("mirrored_labels": [["left", "right"]]})";
  refused(R"({"flip": {"probability": 1, "axes": ["x"]}, )" + pairs, "there is no label '");
  refused("{" + pairs, "nothing mirrors");
  refused(R"({"flip": {"probability": 0, "axes": ["x"]}, )" + pairs, "nothing mirrors");
  refused(R"({"flip": {"probability": 1, "axes": []}, )" + pairs, "nothing mirrors");
  refused(R"({"preset": "maisi-ct", "flip": {"probability": 0, "axes": ["x"]}, )" + pairs, "nothing mirrors");
  refused(R"({"quarter_turn": {"probability": 1, "axes": ["x"]}, )" + pairs, "nothing mirrors");
  refused(R"({"preset": "maisi"})", "preset");
}

TEST_CASE("augment: the time of one patch", "[.][time]") {
  const Patch patch = pattern({160, 160, 160});
  const auto time = [&](const char* name, const AugmentOptions& options) {
    const auto start = std::chrono::steady_clock::now();
    for (std::uint64_t n = 0; n < 3; ++n) augment(patch, {16, 16, 16}, {128, 128, 128}, options, 1, n);
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    WARN(name << ": " << spent.count() / 3 << " ms for 128^3");
  };
  time("cut out", {});
  AugmentOptions rotated;
  rotated.rotate = {1, -0.1, 0.1};
  time("rotated", rotated);
  rotated.elastic.probability = 1;
  time("rotated, elastic", rotated);
  AugmentOptions gibbs;
  gibbs.gibbs = {1, 0.5, 1};
  time("gibbs", gibbs);
  AugmentOptions bias;
  bias.bias_field = {1, 0, 0.3};
  time("bias field", bias);
}

TEST_CASE("augment: a label map on another grid is refused", "[unit][augment]") {
  Patch patch = pattern();
  patch.label = pattern({4, 4, 4}).label;
  REQUIRE_THROWS_WITH(augment(patch, {}, 1, 1), Contains("4x4x4") && Contains("8x7x6"));
}

}  // namespace
}  // namespace medgen
