// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/schema.h"

#include "core/config/parse.h"
#include "core/pipeline/pipeline.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

ConfigNode parsed(const std::string& text) {
  return parse_config(text, "pipeline.json");
}

/// The smallest step of each verb that is valid.
const std::map<std::string, std::string, std::less<>> kSteps = {
    {"generate", R"({"generate": "models/ct"})"},
    {"encode", R"({"encode": "models/ct", "image": "a.nii"})"},
    {"decode", R"({"decode": "models/ct", "latent": "@codes"})"},
    {"train", R"({"train": "models/ct", "component": "denoiser", "data": "d", "iterations": 1, "to": "m"})"},
    {"write", R"({"write": "@ct", "to": "out"})"},
    {"import", R"({"import": {"compressor": "a.pt"}, "method": "maisi.ddpm-ct", "to": "m"})"}};

}  // namespace

TEST_CASE("schema: every verb has a smallest step, which is known by its verb", "[unit][pipeline]") {
  CHECK(verb_schemas().size() == kSteps.size());
  for (const VerbSchema& each : verb_schemas()) {
    INFO(each.verb);
    const ConfigNode step = parsed(kSteps.find(each.verb)->second);
    CHECK(verb_of(step) == each.verb);
    CHECK_NOTHROW(verb_schema(each.verb).validate(step));
  }
}

TEST_CASE("schema: a step that lacks a required key is refused with its name", "[unit][pipeline]") {
  for (const VerbSchema& each : verb_schemas()) {
    const Json schema = Json::parse(each.schema);
    for (const Json& key : schema["required"]) {
      INFO(each.verb << " without " << key);
      Json step = Json::parse(kSteps.find(each.verb)->second);
      step.erase(key.get<std::string>());
      CHECK_THROWS_WITH(verb_schema(each.verb).validate(parsed(step.dump())), Contains(key.get<std::string>()));
    }
  }
}

TEST_CASE("schema: an unknown key is refused with its place and the nearest one", "[unit][pipeline]") {
  const ConfigNode step = parsed("{\"generate\": \"m\",\n  \"spacing\": [1, 1, 1]}");
  CHECK_THROWS_WITH(verb_schema("generate").validate(step), Contains("pipeline.json:2:3") && Contains("spacing_mm"));
}

TEST_CASE("schema: values outside what a step takes are refused", "[unit][pipeline]") {
  const auto [verb, key, value] =
      GENERATE(table<std::string, std::string, std::string>({{"generate", "steps", "0"},
                                                             {"generate", "steps", "2.5"},
                                                             {"generate", "count", "-1"},
                                                             {"generate", "size", "[32, 32]"},
                                                             {"generate", "size", "[32, 32, 0]"},
                                                             {"generate", "spacing_mm", "[1, 1, 0]"},
                                                             {"generate", "timesteps", "[]"},
                                                             {"generate", "scheduler", R"({"config": {}})"},
                                                             {"write", "write", R"("ct")"},
                                                             {"write", "layout", R"("flat")"},
                                                             {"write", "contact_sheet", R"("sheet.jpg")"},
                                                             {"write", "to", R"("")"},
                                                             {"train", "component", R"("scheduler")"},
                                                             {"train", "learning_rate", "0"},
                                                             {"train", "schedule", R"("step")"},
                                                             {"train", "crop", "[8, 8]"},
                                                             {"train", "latent_scale", "-1"},
                                                             {"import", "import", "{}"},
                                                             {"encode", "image", "7"}}));
  CAPTURE(verb, key, value);
  Json step = Json::parse(kSteps.at(verb));
  step[key] = Json::parse(value);
  CHECK_THROWS_WITH(verb_schema(verb).validate(parsed(step.dump())), Contains(key));
}

TEST_CASE("schema: a step without a verb, or with two, is refused", "[unit][pipeline]") {
  CHECK_THROWS_WITH(verb_of(parsed("{}")), Contains("no verb"));
  CHECK_THROWS_WITH(verb_of(parsed(R"({"generat": "m"})")), Contains("generate"));
  CHECK_THROWS_WITH(verb_of(parsed(R"({"write": "@a", "generate": "m"})")),
                    Contains("generate") && Contains("write") && Contains("two"));
}

TEST_CASE("schema: the document's defaults are filled in", "[unit][pipeline]") {
  const ConfigNode document = document_schema().resolve(parsed(R"({"medgen": 1, "steps": {"a": {}}})"));
  CHECK(document.get<int>("seed") == 0);
  CHECK(document.at("runtime").get<std::string>("device") == "auto");
  CHECK(document.at("runtime").get<int>("threads") == 0);
}

TEST_CASE("schema: documents that are none are refused", "[unit][pipeline]") {
  const std::string text = GENERATE(
      "[]", "{}", R"({"medgen": 1})", R"({"medgen": 2, "steps": {"a": {}}})", R"({"medgen": 1, "steps": {}})",
      R"({"medgen": 1, "steps": []})", R"({"medgen": 1, "steps": {"1a": {}}})", R"({"medgen": 1, "steps": {"a": 3}})",
      R"({"medgen": 1, "seed": -1, "steps": {"a": {}}})", R"({"medgen": 1, "step": {}, "steps": {"a": {}}})",
      R"({"medgen": 1, "runtime": {"device": "gpu"}, "steps": {"a": {}}})",
      R"({"medgen": 1, "runtime": {"threads": -2}, "steps": {"a": {}}})");
  CAPTURE(text);
  CHECK_THROWS_AS(document_schema().validate(parsed(text)), ConfigError);
}

TEST_CASE("schema: the published schema is one document that accepts each step and refuses a mixture",
          "[unit][pipeline]") {
  Json published = Json::parse(pipeline_schema());
  CHECK(published["title"] == "medgen pipeline");
  const Schema schema = Schema::parse(published.dump(), "published");
  for (const auto& [verb, step] : kSteps) {
    INFO(verb);
    CHECK_NOTHROW(schema.validate(parsed(R"({"medgen": 1, "steps": {"a": )" + step + "}}")));
  }
  CHECK_THROWS_AS(schema.validate(parsed(R"({"medgen": 1, "steps": {"a": {"write": "@a", "generate": "m"}}})")),
                  ConfigError);
}
