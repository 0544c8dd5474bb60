// SPDX-License-Identifier: Apache-2.0
#include "core/config/override.h"

#include "core/config/parse.h"
#include "core/config/schema.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen {
namespace {

using Strings = std::vector<std::string>;

const char* const kText = R"({"steps": {"ct": {"steps": 30, "spacing_mm": [1, 1, 2], "a.b": 1}},
 "seed": 1})";

ConfigNode with(const Strings& settings, const Strings& creatable = {}) {
  return apply_overrides(parse_config(kText, "p.json"), settings, creatable);
}

TEST_CASE("a setting replaces one value: JSON when it is, else a string", "[unit][config]") {
  CHECK(with({"steps.ct.steps=10"}).json()["steps"]["ct"]["steps"] == 10);
  CHECK(with({"steps.ct.spacing_mm[2]=1.5"}).json()["steps"]["ct"]["spacing_mm"] == Json({1, 1, 1.5}));
  CHECK(with({"steps.ct.mask=labels/*.nii.gz"}).json()["steps"]["ct"]["mask"] == "labels/*.nii.gz");
  CHECK(with({"seed=\"1\""}).json()["seed"] == "1");
  CHECK(with({"seed="}).json()["seed"] == "");
  CHECK(with({"seed=a=b"}).json()["seed"] == "a=b");
  CHECK(with({"seed={\"a\": [1]}"}).json()["seed"]["a"][0] == 1);
  CHECK(with({"steps.ct[\"a.b\"]=2"}).json()["steps"]["ct"]["a.b"] == 2);
  CHECK(with({"seed=NaN"}).json()["seed"] == "NaN");
  CHECK(with({"seed=1", "seed=2"}).json()["seed"] == 2);
}

TEST_CASE("paths in a setting start from the working folder, others from the file's", "[unit][config]") {
  const ConfigNode document = parse_config(R"({"to": "a", "more": {"to": "b"}})", "p.json", "/pipelines");
  const ConfigNode set = apply_overrides(document, Strings{"to=x", "more={\"to\": \"y\"}"}, {});
  CHECK(document.at("to").folder() == "/pipelines");
  CHECK(set.folder() == "/pipelines");
  CHECK(set.at("to").folder() == std::filesystem::current_path());
  CHECK(set.at("more").at("to").folder() == std::filesystem::current_path());
}

TEST_CASE("the original document stays as it was", "[unit][config]") {
  const ConfigNode document = parse_config(kText, "p.json");
  apply_overrides(document, Strings{"seed=7"});
  CHECK(document.json()["seed"] == 1);
  CHECK(document.at("seed").where() == "p.json:2:10");
}

TEST_CASE("only the last key may be new, and the root objects that are allowed", "[unit][config]") {
  CHECK(with({"steps.ct.guidance=3"}).json()["steps"]["ct"]["guidance"] == 3);
  CHECK(with({"runtime.threads=2"}, {"runtime"}).json()["runtime"]["threads"] == 2);
  CHECK(with({"runtime.threads=2", "runtime.device=cpu"}, {"runtime"}).json()["runtime"]["device"] == "cpu");
}

TEST_CASE("what was set says so, what was not keeps its place", "[unit][config]") {
  const ConfigNode node = with({"steps.ct.steps=thirty", "seed={\"a\": [1]}"});
  CHECK(node.at("steps").at("ct").at("steps").where() == "--set steps.ct.steps");
  CHECK(node.at("seed").at("a").at(0).where() == "--set seed");
  CHECK(node.at("steps").at("ct").at("spacing_mm").where() == "p.json:1:46");
  CHECK(node.at("steps").at("ct").where() == "p.json:1:18");
  const Schema schema = Schema::parse(
      R"({"properties": {"steps": {"properties": {"ct": {"properties": {"steps": {"type": "integer", "minimum": 1}}}}}}})",
      "s");
  CHECK_THROWS_MATCHES(schema.validate(node), ConfigError,
                       Catch::Message("--set steps.ct.steps: steps.ct.steps must be an integer >= 1, got \"thirty\""));
}

TEST_CASE("settings that lead nowhere are refused with a suggestion", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {"step.ct.steps=1", "--set step.ct.steps: the document has no key \"step\" (did you mean 'steps'?)"},
      {"steps.tc.steps=1", "--set steps.tc.steps: steps has no key \"tc\" (did you mean 'ct'?)"},
      {"runtime.threads=1", "--set runtime.threads: the document has no key \"runtime\""},
      {"steps.ct.spacing_mm[3]=1",
       "--set steps.ct.spacing_mm[3]: steps.ct.spacing_mm has 3 elements, [3] does not exist"},
      {"steps.ct[0]=1", "--set steps.ct[0]: steps.ct is no array, [0] does not exist"},
      {"steps.ct.spacing_mm.x=1", "--set steps.ct.spacing_mm.x: steps.ct.spacing_mm is an array, it has no key \"x\""},
      {"seed.x=1", "--set seed.x: seed is an integer, it has no key \"x\""}};
  for (const auto& [setting, message] : cases) {
    CAPTURE(setting);
    CHECK_THROWS_MATCHES(with({setting}), ConfigError, Catch::Message(message));
  }
}

TEST_CASE("settings that are none are a mistake on the command line", "[unit][config]") {
  const std::pair<const char*, const char*> cases[] = {
      {"seed", "--set seed: write PATH=VALUE, for example --set runtime.threads=4"},
      {"", "--set : write PATH=VALUE, for example --set runtime.threads=4"},
      {"=1", "--set =1: the path before = is empty"},
      {"a..b=1", "--set a..b=1: a key is missing at character 3"},
      {"steps.=1", "--set steps.=1: a key is missing at character 7"},
      {"steps.ct.spacing_mm[x]=1", "--set steps.ct.spacing_mm[x]=1: [x] is no index"},
      {"steps.ct.spacing_mm[-1]=1", "--set steps.ct.spacing_mm[-1]=1: [-1] is no index"},
      {"steps[0", "--set steps[0: [ at character 6 needs an index or a quoted key, and ]"},
      {"steps[]=1", "--set steps[]=1: [ at character 6 needs an index or a quoted key, and ]"},
      {"steps[\"\\q\"]=1", "--set steps[\"\\q\"]=1: \"\\q\" is no JSON string"},
      {"seed=\xFF", "--set seed=\xFF: the value is not UTF-8"}};
  for (const auto& [setting, message] : cases) {
    CAPTURE(setting);
    CHECK_THROWS_MATCHES(with({setting}), UsageError, Catch::Message(message));
  }
}

}  // namespace
}  // namespace medgen
