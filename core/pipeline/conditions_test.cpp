// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/conditions.h"

#include "core/config/json.h"
#include "core/config/parse.h"
#include "core/io/test_folder.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>

namespace medgen {
namespace {

using Catch::Matchers::Contains;

/// One plugin with conditioners that take nothing, a modality and a top, or nobody knows what.
struct Conditioners {
  TestFolder folder;
  Registry registry;

  Conditioners() : registry(scan(folder)) {}

  static Registry scan(const TestFolder& folder) {
    std::ofstream(folder.path / "library.so") << "not looked at";
    std::ofstream(folder.path / "tests.medgen-plugin.json") << R"({
      "medgen_plugin": 1, "id": "tests", "version": "1", "vendor": "us", "license": "MIT", "summary": "For tests.",
      "abi": {"major": 1, "minor": 0}, "library": "library.so", "components": [
      {"id": "tests.labels", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"encode": {
        "params": {}, "in": {"mask": {"shape": ["N"]}}, "out": {"planes": {"shape": ["N"]}}}}}},
      {"id": "tests.scalars", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"encode": {
        "params": {"modality": "a name", "top_region": "a name", "spacing_mm": "of the grid"},
        "in": {"mask": {"shape": ["N"], "optional": true}}}}}},
      {"id": "tests.steps", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"step": {}}}},
      {"id": "tests.segmenter", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"encode": {
        "params": {}, "out": {"mask": {"shape": ["N"]}}}}}},
      {"id": "tests.inpainting", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"encode": {
        "params": {}, "in": {"mask": {"shape": ["N"]}, "image": {"shape": ["N"]}}}}}},
      {"id": "tests.anything", "kind": "medgen.conditioner/1", "summary": "", "io": {"functions": {"encode": {}}}}]})";
    Registry registry = Registry::scan_only({folder.path});
    for (const Rejected& rejected : registry.rejected()) FAIL(rejected.reason);
    return registry;
  }

  ModelPackage model(const std::vector<std::string>& conditioners) const {
    Json description = {{"name", "m"}, {"components", {{"conditioners", Json::object()}}}};
    for (const std::string& name : conditioners) {
      description["components"]["conditioners"][name] = {{"component", "tests." + name}};
    }
    return ModelPackage::load(ConfigNode::make(description, "model"), registry);
  }

  void check(const std::string& step, const std::vector<std::string>& conditioners) const {
    check_conditions(parse_config(step, "p.json"), model(conditioners), registry);
  }
};

TEST_CASE("conditions that a conditioner takes are accepted, and no conditions are", "[unit][pipeline]") {
  const Conditioners c;
  CHECK_NOTHROW(c.check(R"({})", {}));
  CHECK_NOTHROW(c.check(R"({"conditions": {}})", {"labels"}));
  CHECK_NOTHROW(c.check(R"({"conditions": {"modality": "t1", "top_region": 1}})", {"labels", "scalars", "steps"}));
}

TEST_CASE("a conditioner that lists no params takes any", "[unit][pipeline]") {
  const Conditioners c;
  CHECK_NOTHROW(c.check(R"({"conditions": {"age": 7}})", {"scalars", "anything"}));
}

TEST_CASE("a misspelt condition is refused where it stands, with a suggestion", "[unit][pipeline]") {
  const Conditioners c;
  CHECK_THROWS_WITH(c.check("{\"conditions\":\n {\"modalty\": \"t1\"}}", {"scalars"}),
                    "p.json:2:3: conditions.modalty is no condition of model 'm' (did you mean 'modality'?); it takes: "
                    "modality, top_region");
}

TEST_CASE("a condition without a taker is refused", "[unit][pipeline]") {
  const Conditioners c;
  for (const std::vector<std::string>& conditioners : {std::vector<std::string>{}, {"labels"}, {"steps"}}) {
    CHECK_THROWS_WITH(c.check(R"({"conditions": {"modality": "t1"}})", conditioners), Contains("it takes: none"));
  }
}

TEST_CASE("what the host tells conditioners is not the user's to give", "[unit][pipeline]") {
  CHECK_NOTHROW(check_no_host_conditions(parse_config(R"({"spacing_mm": [1, 1, 1]})", "p.json")));
  for (const char* key : {"spacing_mm", "size", "samples", "label_volumes_ml"}) {
    const ConfigNode step = parse_config(fmt::format(R"({{"conditions": {{"{}": [1, 1, 1]}}}})", key), "p.json");
    CHECK_THROWS_WITH(check_no_host_conditions(step), Contains("p.json:1:") && Contains(key));
  }
}

TEST_CASE("a model that needs a label map is refused one by `size`", "[unit][pipeline]") {
  const Conditioners c;
  const ConfigNode without = parse_config(R"({"size": [8, 8, 8]})", "p.json");
  const auto check = [&](const std::vector<std::string>& conditioners) {
    check_mask_given(without, c.model(conditioners), c.registry);
  };
  CHECK_NOTHROW(check({"scalars", "steps", "anything"}));
  CHECK_NOTHROW(check({"segmenter", "labels"}));
  CHECK_NOTHROW(check_mask_given(parse_config(R"({"mask": "m.nii"})", "p.json"), c.model({"labels"}), c.registry));
  CHECK_THROWS_WITH(check({"labels"}), Contains("p.json:1:1") && Contains("needs a label map"));
  CHECK_THROWS_WITH(check({"labels", "segmenter"}), Contains("tests.labels"));
}

TEST_CASE("conditions go to the model that takes them, image or label maps", "[unit][pipeline]") {
  const Conditioners c;
  const ConfigNode step = parse_config(R"({"conditions": {"modality": "t1"}})", "p.json");
  const ModelPackage images = c.model({"labels"}), masks = c.model({"scalars"});
  CHECK_NOTHROW(check_conditions(step, images, c.registry, &masks));
  CHECK(conditions_taken(step, images, c.registry).empty());
  CHECK(conditions_taken(step, masks, c.registry) == Json{{"modality", "t1"}});
  CHECK(conditions_taken(step, c.model({"anything"}), c.registry) == Json{{"modality", "t1"}});
  CHECK_THROWS_WITH(
      check_conditions(parse_config(R"({"conditions": {"modalty": 1}})", "p.json"), images, c.registry, &masks),
      Contains("did you mean 'modality'"));
}

TEST_CASE("an image is for models that put something into it, and those need one", "[unit][pipeline]") {
  const Conditioners c;
  const ConfigNode with = parse_config(R"({"image": "a.nii"})", "p.json"), without = parse_config("{}", "p.json");
  CHECK_NOTHROW(check_image_given(with, c.model({"inpainting"}), c.registry));
  CHECK_NOTHROW(check_image_given(without, c.model({"labels", "anything"}), c.registry));
  CHECK_THROWS_WITH(check_image_given(without, c.model({"inpainting"}), c.registry), Contains("has no \"image\""));
  CHECK_THROWS_WITH(check_image_given(with, c.model({"labels"}), c.registry), Contains("takes no image"));
}

}  // namespace
}  // namespace medgen
