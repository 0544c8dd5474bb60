// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/preparation.h"

#include "core/base/error.h"
#include "core/config/parse.h"
#include "core/pipeline/model_schema.h"
#include "core/pipeline/schema.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

DataContract contract(const std::string& modality = "ct", const std::string& more = "") {
  return DataContract::read(
      model_schema().resolve(parse_config(R"({"components": {}, "data": {"modality": ")" + modality +
                                              R"(", "labels": {"body": 200, "trunk": 7})" + more + "}}",
                                          "model.json")));
}

/// Steps a, b and c: each takes the data of the one before.
struct Steps {
  ConfigNode steps;

  Steps(const std::string& a, const std::string& b, const std::string& c)
      : steps(document(R"({"steps": {"a": )" + step("folder", a) + R"(, "b": )" + step("@a", b) + R"(, "c": )" +
                       step("@b", c) + "}}")) {}

  static std::string step(const std::string& data, const std::string& keys) {
    return R"({"train": "m", "component": "denoiser", "iterations": 1, "to": "o", "data": ")" + data + '"' +
           (keys.empty() ? "" : ", " + keys) + "}";
  }

  static ConfigNode document(const std::string& text) {
    const ConfigNode root = parse_config(text, "p.json");
    Json resolved = root.json();
    for (const auto& [name, step] : root.at("steps").members())
      resolved["steps"][name] = verb_schema("train").resolve(step).json();
    return root.with_value(std::move(resolved)).at("steps");
  }

  Preparation of(const std::string& name) const { return Preparation(data_line(steps, steps.at(name))); }
};

constexpr const char* kMillimetre = R"("resample_mm": 1)";
constexpr const char* kBody = R"("body": {"air_below": -700})";

TEST_CASE("preparation: steps whose data is the same are in one line", "[unit][pipeline]") {
  const Steps steps("", "", "");
  CHECK(data_line(steps.steps, steps.steps.at("a")).size() == 1);
  const auto line = data_line(steps.steps, steps.steps.at("c"));
  REQUIRE(line.size() == 3);
  CHECK(line.front().path() == "steps.c");
  CHECK(line.back().get<std::string>("data") == "folder");
}

TEST_CASE("preparation: all of it comes along with the data", "[unit][pipeline]") {
  const Steps steps(std::string(kMillimetre) + ", " + kBody, "", "");
  for (const char* name : {"a", "b", "c"}) {
    const Preparation preparation = steps.of(name);
    CHECK(preparation.spacing().text() == TargetSpacing({1, 1, 1}).text());
    REQUIRE(preparation.body(contract()).has_value());
    CHECK(preparation.body(contract())->label == 200);
    CHECK(preparation.body(contract())->air_below == -700);
    CHECK(preparation.body(contract())->least_part == 1);
    CHECK(preparation.json().dump() == steps.of("a").json().dump());
  }
}

TEST_CASE("preparation: each key from the nearest step that has it", "[unit][pipeline]") {
  const Steps steps(kMillimetre, kBody, R"("resample_mm": [2, null, 2], "body": {"label": "trunk"})");
  CHECK(steps.of("a").body(contract()) == std::nullopt);
  CHECK(steps.of("b").spacing().text() == TargetSpacing({1, 1, 1}).text());
  CHECK(steps.of("b").body(contract())->air_below == -700);
  CHECK(steps.of("c").spacing().text() == TargetSpacing({2, std::nullopt, 2}).text());
  CHECK(steps.of("c").body(contract())->label == 7);
  CHECK(steps.of("c").body(contract())->air_below == -800);
}

TEST_CASE("preparation: a step can do without what it would take over", "[unit][pipeline]") {
  const Steps steps(std::string(kMillimetre) + ", " + kBody, R"("resample_mm": [null, null, null], "body": false)", "");
  for (const char* name : {"b", "c"}) {
    CHECK(steps.of(name).spacing().empty());
    CHECK(steps.of(name).body(contract("mr")) == std::nullopt);
    CHECK_NOTHROW(steps.of(name).check(contract("mr")));
  }
  CHECK(Steps("", "", "").of("c").json().empty());
}

TEST_CASE("preparation: what the model does not take is told at the key, with who takes it over", "[unit][pipeline]") {
  const Steps steps(std::string(kMillimetre) + R"(, "body": {"label": "trunc"})", "", "");
  CHECK_THROWS_WITH(steps.of("a").check(contract()), Contains("steps.a.body cannot be made") &&
                                                         Contains("did you mean 'trunk'") &&
                                                         !Contains("takes it over"));
  CHECK_THROWS_WITH(steps.of("c").check(contract()),
                    Contains("steps.a.body cannot be made") && Contains("steps.c takes it over"));
  CHECK_THROWS_WITH(steps.of("b").check(contract("mr")),
                    Contains("steps.a.body") && Contains("Hounsfield units") && Contains("\"body\": false"));
  const DataContract coarse = contract("mr", R"(, "spacing_mm": {"minimum": [2, 2, 2]})");
  const Steps fine(kMillimetre, "", "");
  CHECK_THROWS_WITH(fine.of("a").check(coarse), Contains("steps.a.resample_mm") && !Contains("takes it over"));
  CHECK_THROWS_WITH(fine.of("b").check(coarse), Contains("steps.a.resample_mm") && Contains("steps.b takes it over"));
}

TEST_CASE("preparation: labels of the data are the model's, by name or id, for all who take the data",
          "[unit][pipeline]") {
  const Steps steps(R"("labels": {"rump": "Trunk", "9": 200, "air": 0})", "", R"("labels": {})");
  const SaidLabels said = {{"rump", 7}, {"9", 200}, {"air", 0}};
  for (const char* name : {"a", "b"}) CHECK(steps.of(name).labels(contract()) == said);
  CHECK(steps.of("c").labels(contract()).empty());
  CHECK(steps.of("b").json()["labels"]["rump"] == "Trunk");
  CHECK(Steps(R"("labels": {"a": 5})", "", "").of("a").labels({}) == SaidLabels{{"a", 5}});  // a model of any ids
}

TEST_CASE("preparation: labels that the model lacks are told at the key", "[unit][pipeline]") {
  const Steps steps(R"("labels": {"rump": "trunc"})", "", "");
  CHECK_THROWS_WITH(steps.of("a").check(contract()), Contains("steps.a.labels.rump is no label of the model") &&
                                                         Contains("did you mean 'trunk'") &&
                                                         !Contains("takes it over"));
  CHECK_THROWS_WITH(steps.of("b").check(contract()), Contains("steps.b takes it over"));
  CHECK_THROWS_WITH(Steps(R"("labels": {"rump": 8})", "", "").of("a").check(contract()), Contains("id 8"));
  CHECK_THROWS_WITH(Steps(R"("labels": {"rump": -1})", "", ""), Contains("labels.rump"));
}

TEST_CASE("preparation: a body that is none is refused", "[unit][pipeline]") {
  for (const char* bad : {"true", "1", "\"body\"", "{\"air\": 1}", "{\"least_part\": 0}", "[]"}) {
    INFO(bad);
    CHECK_THROWS_WITH(Steps(R"("body": )" + std::string(bad), "", ""), Contains("body"));
  }
}

}  // namespace
}  // namespace medgen
