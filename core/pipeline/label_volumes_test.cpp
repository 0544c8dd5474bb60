// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/label_volumes.h"

#include "core/pipeline/contract.h"
#include "core/pipeline/test_cases.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

/// The first `count` voxels have label 1.
Volume filled(std::size_t count, const Affine<Ras>& affine = kOneMm) {
  Volume label = spot(0, affine);
  const auto voxels = label.voxels().values<std::uint8_t>();
  for (std::size_t i = 0; i < count; ++i) voxels[i] = 1;
  return label;
}

LabelVolumes read(const std::string& data) {
  const ConfigNode model =
      model_schema().resolve(parse_config(R"({"components": {}, "data": )" + data + "}", "m.json"));
  return DataContract::read(model).label_volumes_ml;
}

}  // namespace

TEST_CASE("label volumes: tenths of what the cases have, in ml, of the cases that have it", "[unit][pipeline]") {
  const LabelTable names({{1, "thing"}, {2, "other"}});
  LabelVolumeMeter meter;
  CHECK(meter.measured(names).empty());
  for (const std::size_t voxels : {30, 10, 20}) meter.add(filled(voxels));
  meter.add(filled(5, Affine<Ras>::from_spacing({2, 2, 2})));
  meter.add(Volume(Tensor::zeros(DType::U8, {2, 2, 2}), kOneMm));
  const Json measured = meter.measured(names);
  REQUIRE(measured.size() == 1);  // no background, no label that is nowhere
  CHECK(measured["thing"] == Json({0.01, 0.013, 0.016, 0.019, 0.022, 0.025, 0.028, 0.031, 0.034, 0.037, 0.04}));
  CHECK(meter.measured(LabelTable()).contains("1"));
}

TEST_CASE("label volumes: one case is its own smallest and largest", "[unit][pipeline]") {
  LabelVolumeMeter meter;
  meter.add(filled(7));
  CHECK(meter.measured(LabelTable())["1"] == Json(std::vector<double>(11, 0.007)));
}

TEST_CASE("label volumes: a data contract has them by name, conditioners by id", "[unit][pipeline]") {
  CHECK(read(R"({"labels": {"liver": 3}})").empty());
  const LabelVolumes known =
      read(R"({"labels": {"liver": 3, "lung": 4}, "label_volumes_ml": {"liver": [1, 1, 2], "4": [0, 1]}})");
  CHECK(known.by_id() == Json::parse(R"({"3": [1, 1, 2], "4": [0, 1]})"));
  CHECK(read(R"({"label_volumes_ml": {"12": [0, 1]}})").by_id().contains("12"));
}

TEST_CASE("label volumes: other labels, and volumes that fall, are refused", "[unit][pipeline]") {
  CHECK_THROWS_WITH(read(R"({"labels": {"liver": 3}, "label_volumes_ml": {"lever": [1, 2]}})"),
                    Contains("m.json:1") && Contains("'lever'"));
  CHECK_THROWS_WITH(read(R"({"labels": {"liver": 3}, "label_volumes_ml": {"4": [1, 2]}})"), Contains("'4'"));
  CHECK_THROWS_WITH(read(R"({"label_volumes_ml": {"x1": [1, 2]}})"), Contains("'x1'"));
  CHECK_THROWS_WITH(read(R"({"label_volumes_ml": {"1": [2, 1]}})"), Contains("ascend"));
  CHECK_THROWS_WITH(read(R"({"label_volumes_ml": {"1": [2]}})"), Contains("label_volumes_ml"));
  CHECK_THROWS_WITH(read(R"({"label_volumes_ml": {"1": [-1, 2]}})"), Contains("label_volumes_ml"));
}

}  // namespace medgen
