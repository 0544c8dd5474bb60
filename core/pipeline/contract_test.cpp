// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/contract.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/pipeline/model_schema.h"
#include "core/volume/axis_order.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

DataContract contract_of(const std::string& data) {
  const std::string text = R"({"components": {}, "data": )" + data + "}";
  return DataContract::read(model_schema().resolve(parse_config(text, "model.json")));
}

/// All 48 ways to lay three axes along the patient's.
std::vector<std::string> orientations() {
  std::vector<std::string> codes;
  std::array<std::size_t, 3> axes{0, 1, 2};
  do {
    for (unsigned flips = 0; flips < 8; ++flips) {
      std::string code;
      for (std::size_t i = 0; i < 3; ++i) code += ((flips >> i) & 1) != 0 ? "LPI"[axes[i]] : "RAS"[axes[i]];
      codes.push_back(code);
    }
  } while (std::next_permutation(axes.begin(), axes.end()));
  return codes;
}

/// Columns are the directions of the three voxel axes, turned by 20 degrees out of the patient's when oblique.
Affine<Ras> affine_of(const std::string& code, bool oblique) {
  const double c = oblique ? std::cos(0.35) : 1;
  const double s = oblique ? std::sin(0.35) : 0;
  const Matrix3 turn = {{{c * c, -s, c * s}, {s * c, c, s * s}, {-s, 0, c}}};
  const Vec3 spacing{0.7, 1.1, 2.3};
  Matrix4 rows = geometry::kIdentity;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t world = std::string("RASLPI").find(code[axis]);
    const double sign = world < 3 ? 1 : -1;
    for (std::size_t r = 0; r < 3; ++r) rows[4 * r + axis] = sign * spacing[axis] * turn[r][world % 3];
  }
  rows[3] = -12.5;
  rows[7] = 31.25;
  rows[11] = 4;
  return Affine<Ras>(rows);
}

/// Every voxel another number; (c, z, y, x) when there are channels.
Volume numbered(const Size3& size, const Affine<Ras>& affine, std::int64_t channels = 1) {
  Tensor voxels(DType::I32, channels == 1 ? zyx_of(size) : zyx_of({channels}, size));
  const auto values = voxels.values<std::int32_t>();
  std::iota(values.begin(), values.end(), 1);
  return {voxels, affine};
}

bool same(const Volume& a, const Volume& b) {
  return a.affine() == b.affine() && a.voxels().shape() == b.voxels().shape() && a.dtype() == b.dtype() &&
         std::ranges::equal(a.voxels().values<std::int32_t>(), b.voxels().values<std::int32_t>());
}

double distance(const Point<Ras>& a, const Point<Ras>& b) {
  return std::hypot(a.mm[0] - b.mm[0], a.mm[1] - b.mm[1], a.mm[2] - b.mm[2]);
}

}  // namespace

TEST_CASE("contract: what goes into a model comes back voxel for voxel, with its own affine", "[unit][pipeline]") {
  const bool oblique = GENERATE(false, true);
  const bool xyz = GENERATE(false, true);
  const std::int64_t multiple = GENERATE(1, 4);
  const std::int64_t channels = GENERATE(1, 2);
  DataContract contract;
  contract.xyz_axes = xyz;
  for (const std::string& code : orientations()) {
    const Volume volume = numbered({5, 6, 7}, affine_of(code, oblique), channels);
    REQUIRE(volume.orientation() == code);
    const ModelGrid grid(volume.geometry(), contract, multiple);
    INFO(code << (oblique ? " oblique" : "") << (xyz ? " xyz" : " zyx") << ", multiple of " << multiple);
    REQUIRE(grid.oriented().affine.orientation() == "RAS");
    const Tensor array = grid.to_model(volume, 0);
    Shape shape{1, channels};
    for (const std::int64_t axis : grid.shape()) {
      REQUIRE(axis % multiple == 0);
      shape.push_back(axis);
    }
    REQUIRE(array.shape() == shape);
    REQUIRE(same(grid.from_model(array), volume));
  }
}

TEST_CASE("contract: the model's array holds every voxel at its place in the patient", "[unit][pipeline]") {
  const bool oblique = GENERATE(false, true);
  const bool xyz = GENERATE(false, true);
  const std::string wanted = GENERATE("RAS", "LPS", "SAR", "PIL");
  DataContract contract;
  contract.xyz_axes = xyz;
  contract.orientation = wanted;
  for (const std::string& code : orientations()) {
    INFO(code << " to " << wanted << (oblique ? " oblique" : ""));
    const Volume volume = numbered({3, 4, 5}, affine_of(code, oblique));
    const ModelGrid grid(volume.geometry(), contract, 1);
    REQUIRE(grid.oriented().affine.orientation() == wanted);
    const Tensor array = grid.to_model(volume, 0);
    const auto values = array.values<std::int32_t>();
    const Size3 size = grid.oriented().size;
    for (std::size_t e = 0; e < values.size(); ++e) {
      const auto at = static_cast<std::int64_t>(e);
      const std::int64_t fast = at % (xyz ? size[2] : size[0]);
      const std::int64_t middle = at / (xyz ? size[2] : size[0]) % size[1];
      const std::int64_t slow = at / ((xyz ? size[2] : size[0]) * size[1]);
      const Vec3 here{static_cast<double>(xyz ? slow : fast), static_cast<double>(middle),
                      static_cast<double>(xyz ? fast : slow)};
      const std::int64_t source = values[e] - 1;
      const Vec3 there{static_cast<double>(source % 3), static_cast<double>(source / 3 % 4),
                       static_cast<double>(source / 12)};
      REQUIRE(distance(grid.oriented().affine.voxel_to_world({here}), volume.affine().voxel_to_world({there})) < 1e-9);
    }
  }
}

TEST_CASE("contract: padding has the fill value and lies around the volume", "[unit][pipeline]") {
  const Volume volume = numbered({2, 4, 4}, affine_of("RAS", false));
  const Tensor array = ModelGrid(volume.geometry(), {}, 4).to_model(volume, -7);
  REQUIRE(array.shape() == Shape{1, 1, 4, 4, 4});
  const auto values = array.values<std::int32_t>();
  CHECK(std::count(values.begin(), values.end(), -7) == 32);
  CHECK((values[0] == -7 && values[1] == 1 && values[2] == 2 && values[3] == -7));
}

TEST_CASE("contract: an image of another shape than was asked for is the plugin's fault", "[unit][pipeline]") {
  const ModelGrid grid(numbered({2, 3, 4}, affine_of("RAS", false)).geometry(), {}, 1);
  const Shape shape = GENERATE(Shape{1, 1, 2, 3, 4}, Shape{1, 4, 3, 2}, Shape{2, 1, 4, 3, 2}, Shape{4, 3, 2});
  CHECK_THROWS_AS(grid.from_model(Tensor::zeros(DType::F32, shape)), PluginError);
  CHECK_THROWS_WITH(grid.from_model(Tensor::zeros(DType::F32, shape)), Contains("expected 1xCx4x3x2"));
}

TEST_CASE("contract: what a model says about its data is read", "[unit][pipeline]") {
  const DataContract contract = contract_of(R"({"modality": "mr", "axes": "xyz", "orientation": "LPS",
    "spacing_mm": {"minimum": [1, 1, 1], "maximum": [2, 2, 3]}, "size": {"maximum": [64, 64, 32]},
    "intensity": {"kind": "percentile"}, "background": {"label": 0, "value": -5},
    "labels": {"anterior": 1, "posterior": 2}, "output": "float32"})");
  CHECK(contract.modality == "mr");
  CHECK(contract.xyz_axes);
  CHECK(contract.orientation == "LPS");
  CHECK(contract.limits.spacing_mm.maximum == Vec3{2, 2, 3});
  CHECK_FALSE(contract.limits.size.minimum);
  CHECK(contract.intensity.kind == IntensityRule::Kind::Percentile);
  CHECK(contract.intensity.high == 99.5);
  CHECK(contract.background->value == -5);
  CHECK(contract.labels.id_of("posterior") == 2);
  CHECK(contract.output == DType::F32);
}

TEST_CASE("contract: a model that says nothing promises nothing", "[unit][pipeline]") {
  const DataContract contract = DataContract::read(ConfigNode::make(Json::object(), "model.json"));
  const Volume volume = numbered({3, 3, 3}, affine_of("LPI", true));
  CHECK_NOTHROW(contract.check_grid(volume.geometry(), "case"));
  CHECK_NOTHROW(contract.check_labels(volume, "case"));
  CHECK(contract.intensity.for_input(volume.voxels()) == contract.intensity.for_output());
}

TEST_CASE("contract: descriptions that contradict themselves are refused with their place", "[unit][pipeline]") {
  CHECK_THROWS_WITH(contract_of(R"({"orientation": "RAL"})"), Contains("orientation") && Contains("RAL"));
  CHECK_THROWS_WITH(contract_of(R"({"orientation": "RA"})"), Contains("orientation"));
  CHECK_THROWS_WITH(contract_of(R"({"intensity": {"kind": "window", "low": 5, "high": 5}})"), Contains("above low"));
  CHECK_THROWS_WITH(contract_of(R"({"intensity": {"kind": "percentile", "low": 60, "high": 40}})"),
                    Contains("above low"));
  CHECK_THROWS_AS(contract_of(R"({"labels": {"a": 1, "b": 1}})"), ConfigError);
  CHECK_THROWS_WITH(contract_of(R"({"labels": {"a": 1, "b": 1}})"), Contains("labels.b") && Contains("two names"));
  CHECK_THROWS_WITH(contract_of(R"({"spacing_mm": {"minimum": [1, 1, 2], "maximum": [1, 1, 1]}})"),
                    Contains("spacing_mm") && Contains("2 above its maximum of 1"));
  CHECK_THROWS_AS(contract_of(R"({"spacing_mm": {"minimum": [1, 1]}})"), ConfigError);
}

TEST_CASE("contract: grids outside what the model was trained on are refused with both numbers", "[unit][pipeline]") {
  const DataContract contract = contract_of(R"({"spacing_mm": {"minimum": [1, 1, 1], "maximum": [2, 2, 3]},
    "size": {"minimum": [8, 8, 8], "maximum": [64, 64, 32]}})");
  const auto grid = [](const Vec3& spacing, const Size3& size) {
    return Geometry{size, Affine<Ras>::from_spacing(spacing)};
  };
  CHECK_NOTHROW(contract.check_grid(grid({1, 2, 3}, {8, 64, 32}), "a.nii"));
  CHECK_NOTHROW(contract.check_grid(grid({0.9995, 2.0005, 3}, {8, 64, 32}), "a.nii"));
  CHECK_THROWS_WITH(contract.check_grid(grid({0.99, 2, 3}, {8, 8, 8}), "a.nii"),
                    Contains("a.nii") && Contains("0.99") && Contains("below") && Contains("1, 1, 1"));
  CHECK_THROWS_WITH(contract.check_grid(grid({1, 1, 3.1}, {8, 8, 8}), "a.nii"), Contains("above"));
  CHECK_THROWS_WITH(contract.check_grid(grid({1, 1, 1}, {8, 7, 8}), "a.nii"), Contains("voxels"));
  CHECK_THROWS_AS(contract.check_grid(grid({1, 1, 1}, {8, 8, 33}), "a.nii"), DataError);
}

TEST_CASE("contract: labels that mean nothing to the model are refused, with those that do", "[unit][pipeline]") {
  const DataContract contract = contract_of(R"({"labels": {"anterior": 1, "posterior": 2}})");
  Volume map(Tensor::zeros(DType::U8, {2, 2, 2}), affine_of("RAS", false));
  map.voxels().values<std::uint8_t>()[3] = 2;
  CHECK_NOTHROW(contract.check_labels(map, "a.nii"));
  map.voxels().values<std::uint8_t>()[5] = 9;
  CHECK_THROWS_WITH(contract.check_labels(map, "a.nii"),
                    Contains("a.nii") && Contains("label 9") && Contains("2 posterior"));
}

TEST_CASE("contract: intensities go in as 0 to 1 and come back", "[unit][pipeline]") {
  const std::vector<float> values = {-1500, -1000, 0, 500, 1000, 2000};
  const Tensor voxels = Tensor::from<float>(values, {1, 1, 6});
  const IntensityRule window =
      contract_of(R"({"intensity": {"kind": "window", "low": -1000, "high": 1000}})").intensity;
  const auto in = scaled(window.for_input(voxels), voxels);
  CHECK(in.values<float>()[0] == 0);
  CHECK(in.values<float>()[2] == Approx(0.5));
  CHECK(in.values<float>()[5] == 1);
  CHECK(unscaled(window.for_output(), in, DType::I16).values<std::int16_t>()[3] == 500);

  const IntensityRule percentile = contract_of(R"({"intensity": {"kind": "percentile", "scale": 300}})").intensity;
  CHECK(percentile.for_output().high == 300);
  CHECK(percentile.for_input(voxels).low == -1500);
  CHECK_FALSE(percentile.for_input(voxels).clip_high);
  CHECK_FALSE(percentile.for_output().clip_high);
  const IntensityRule clipped = contract_of(R"({"intensity": {"kind": "percentile", "clip": true}})").intensity;
  CHECK(clipped.for_input(voxels).clip_high);
  CHECK(clipped.for_output().clip_high);
  CHECK_THROWS_AS(percentile.for_input(Tensor::zeros(DType::F32, {1, 1, 6})), DataError);
}
