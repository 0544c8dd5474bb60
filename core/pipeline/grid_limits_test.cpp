// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/contract.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/pipeline/model_schema.h"

#include <catch2/catch.hpp>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

DataContract contract(const std::string& data) {
  return DataContract::read(model_schema().resolve(parse_config("{\"data\": " + data + "}", "model.json")));
}

Geometry grid(const Size3& size, const Vec3& spacing) {
  return {size, Affine<Ras>::from_spacing(spacing)};
}

Volume label_map(const std::vector<std::uint8_t>& ids) {
  Tensor voxels(DType::U8, {1, 1, static_cast<std::int64_t>(ids.size())});
  std::copy(ids.begin(), ids.end(), voxels.values<std::uint8_t>().begin());
  return Volume(voxels, Affine<Ras>::from_spacing({1, 1, 1}));
}

const char* const kLimits = R"({
  "spacing_mm": {"minimum": [0.5, 0.5, 0.5], "maximum": [3, 3, 5]},
  "size": {"minimum": [64, 64, 32], "maximum": [512, 512, 768]},
  "fov_mm": {"minimum": [256, 256, 0]}, "square": true,
  "recommended": {"size": {"multiple_of": 32}, "fov_mm": {"minimum": [384, 384, 0]}}})";

TEST_CASE("a grid at the limits is inside, one beyond any of them is outside", "[unit][pipeline]") {
  const DataContract c = contract(kLimits);
  for (const Geometry& inside : {grid({128, 128, 32}, {3, 3, 5}), grid({512, 512, 768}, {0.5, 0.5, 0.5}),
                                 grid({256, 256, 32}, {0.9996, 1.0004, 0.4996})}) {
    CHECK_NOTHROW(c.check_grid(inside, "ct"));
  }
  const std::vector<std::pair<Geometry, std::string>> outside = {
      {grid({256, 256, 64}, {1, 1, 6}), "spacing in mm (1, 1, 6) is above 3, 3, 5"},
      {grid({600, 600, 64}, {0.5, 0.5, 0.4}), "spacing in mm (0.5, 0.5, 0.4) is below"},
      {grid({256, 256, 31}, {1, 1, 1}), "size in voxels (256, 256, 31) is below"},
      {grid({256, 256, 769}, {1, 1, 1}), "size in voxels (256, 256, 769) is above"},
      {grid({255, 255, 64}, {1, 1, 1}), "field of view in mm (255, 255, 64) is below 256, 256, 0"},
      {grid({300, 301, 64}, {1, 1, 1}), "not alike"},
      {grid({300, 300, 64}, {1, 1.1, 1}), "not alike"}};
  for (const auto& [each, text] : outside) {
    CHECK_THROWS_WITH(c.check_grid(each, "ct"), Contains("ct: ") && Contains(text) && Contains("outside_contract"));
    CHECK(c.grid_warnings(each, true).at(0).find(text) != std::string::npos);
  }
}

TEST_CASE("outside what is recommended there is a warning and no error", "[unit][pipeline]") {
  const DataContract c = contract(kLimits);
  CHECK(c.grid_warnings(grid({384, 384, 64}, {1, 1, 1}), false).empty());
  for (const Geometry& poor : {grid({352, 352, 64}, {1, 1, 1}), grid({400, 400, 64}, {1, 1, 1})}) {
    CHECK_NOTHROW(c.check_grid(poor, "ct"));
    CHECK(c.grid_warnings(poor, false).size() == 1);
  }
}

TEST_CASE("where a model is best at some sizes, others are told with these", "[unit][pipeline]") {
  const DataContract c = contract(R"({"recommended": {"sizes": [[128, 128, 128], [128, 256, 256]]}})");
  CHECK(c.grid_warnings(grid({128, 256, 256}, {1, 1, 1}), false).empty());
  CHECK_THAT(c.grid_warnings(grid({256, 128, 256}, {1, 1, 1}), false).at(0),
             Contains("(256, 128, 256) is none of 128 x 128 x 128, 128 x 256 x 256"));
  CHECK_THROWS_AS(contract(R"({"sizes": [[128, 128]]})"), ConfigError);
  CHECK_THROWS_AS(contract(R"({"sizes": [[128, 0, 128]]})"), ConfigError);
}

TEST_CASE("images to train on are held to the voxel size alone", "[unit][pipeline]") {
  const DataContract c = contract(kLimits);
  CHECK_NOTHROW(c.check_spacing(grid({20, 30, 20}, {1, 2, 1}), "case"));
  CHECK_THROWS_WITH(c.check_spacing(grid({20, 30, 20}, {1, 1, 5.5}), "case"), Contains("case: spacing"));
}

TEST_CASE("images written as int16 are not made of numbers beyond it", "[unit][pipeline]") {
  const std::string output = GENERATE(R"("output": "int16", )", "");
  for (const char* rule :
       {R"("background": {"label": 0, "value": 1e6})", R"("background": {"label": 0, "value": -32769})",
        R"("intensity": {"kind": "window", "low": -1e6, "high": 1000})",
        R"("intensity": {"kind": "window", "low": 0, "high": 32768})",
        R"("intensity": {"kind": "percentile", "scale": 1e9})"}) {
    CAPTURE(rule);
    CHECK_THROWS_WITH(contract("{" + output + rule + "}"), Contains("int16") && Contains("model.json:1:"));
    CHECK_NOTHROW(contract(R"({"output": "float32", )" + std::string(rule) + "}"));
  }
  CHECK_NOTHROW(contract(R"({"intensity": {"kind": "window", "low": -32768, "high": 32767}})"));
}

TEST_CASE("a contract that promises nothing takes any grid and any label", "[unit][pipeline]") {
  const DataContract c = contract("{}");
  CHECK_NOTHROW(c.check_grid(grid({1, 2, 3}, {9, 8, 7}), "ct"));
  CHECK(c.grid_warnings(grid({1, 2, 3}, {9, 8, 7}), true).empty());
  CHECK_NOTHROW(c.check_labels(label_map({0, 7, 255}), "ct"));
}

TEST_CASE("a map must have known labels, and is told of those it lacks", "[unit][pipeline]") {
  const DataContract c = contract(R"({"labels": {"liver": 1, "body": 200}, "expected_labels": [200]})");
  CHECK_NOTHROW(c.check_labels(label_map({0, 1, 200}), "m"));
  CHECK_NOTHROW(c.check_labels(label_map({200}), "m"));
  CHECK_NOTHROW(c.check_labels(label_map({0, 1}), "m"));
  CHECK_THAT(c.labels_warning({0, 1}).value_or(""), Contains("the map has no label 200 (body)"));
  CHECK_FALSE(c.labels_warning({1, 200}).has_value());
  CHECK_THAT(c.labels_warning({0}).value_or(""), Contains("the label map is empty"));
  CHECK_THROWS_WITH(c.check_labels(label_map({0, 2, 133, 200}), "m"), Contains("labels 2, 133 mean nothing"));
  CHECK_THROWS_WITH(c.check_labels(label_map({0, 2}), "m"), Contains("label 2 means nothing"));
  CHECK_THROWS_WITH(c.check_labels(label_map({2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 140}), "m"),
                    Contains("13 labels, from 2 to 140, mean nothing") && Contains("is this an image?"));
  CHECK_THROWS_WITH(contract(R"({"expected_labels": [7], "labels": {"liver": 1}})"), Contains("model.json:1:"));
  CHECK_THROWS_AS(contract(R"({"expected_labels": [0]})"), ConfigError);
}

}  // namespace
}  // namespace medgen
