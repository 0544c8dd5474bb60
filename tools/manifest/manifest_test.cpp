// SPDX-License-Identifier: Apache-2.0
#include "tools/manifest/manifest.h"

#include "core/base/file.h"

#include <medgen/abi/draft/train.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace medgen;

namespace {

constexpr medgen_str_t str(std::string_view text) {
  return {text.data(), text.size()};
}

/// A plugin with one component, good in every field; a test spoils one.
struct Example {
  medgen_component_t base{};
  medgen_component_desc_t component{};
  const medgen_component_desc_t* list[2]{&component, &component};
  medgen_plugin_t plugin{};

  Example() {
    base.struct_size = sizeof base;
    base.create = [](const medgen_create_t*, medgen_obj_t**) noexcept -> medgen_status_t { return MEDGEN_OK; };
    base.destroy = [](medgen_obj_t*) noexcept {};
    component = {
        sizeof component, 0,     str("x.a"), str(MEDGEN_DENOISER_1), str("Doubles."), str(R"({"type":"object"})"),
        str("{}"),        &base, &base};
    plugin.struct_size = sizeof plugin;
    plugin.id = str("x");
    plugin.version = str("1.2.3");
    plugin.vendor = str("Someone");
    plugin.license = str("Apache-2.0");
    plugin.summary = str("An example.");
    plugin.component_count = 1;
    plugin.components = list;
  }

  Example(const Example&) = delete;
  Example& operator=(const Example&) = delete;
};

std::filesystem::path temporary(const std::string& name) {
  return std::filesystem::temp_directory_path() / ("medgen_manifest_test_" + name);
}

}  // namespace

TEST_CASE("manifest: holds the options of a training where there is one", "[unit][manifest]") {
  Example example;
  CHECK_FALSE(manifest::describe(example.plugin)["components"][0].contains("train_options"));
  static medgen_train_t train{};
  train.struct_size = sizeof train;
  train.options_schema_json = str(R"({"type":"object"})");
  example.base.get_extension = [](const char* id) noexcept -> const void* {
    return std::string_view(id) == MEDGEN_TRAIN_1 ? &train : nullptr;
  };
  const nlohmann::json json = manifest::describe(example.plugin);
  CHECK(json["components"][0]["train_options"]["type"] == "object");
  train.options_schema_json = str("[]");
  CHECK_THROWS_WITH(manifest::describe(example.plugin), Catch::Contains("x.a.train options_schema_json"));
}

TEST_CASE("manifest: says what the plugin says", "[unit][manifest]") {
  const Example example;
  const nlohmann::json json = manifest::describe(example.plugin);
  CHECK(json["medgen_plugin"] == 1);
  CHECK(json["id"] == "x");
  CHECK(json["version"] == "1.2.3");
  CHECK(json["abi"]["major"] == 1);
  CHECK(json["runtime"] == nlohmann::json::object());
  CHECK(json["methods"] == nlohmann::json::object());
  REQUIRE(json["components"].size() == 1);
  CHECK(json["components"][0]["id"] == "x.a");
  CHECK(json["components"][0]["config_schema"]["type"] == "object");
}

TEST_CASE("manifest: a defect of the plugin is an error that names the field", "[unit][manifest]") {
  Example example;
  const auto complains = [&](const char* about) {
    CHECK_THROWS_WITH(manifest::describe(example.plugin), Catch::Contains(about));
  };
  SECTION("no version") {
    example.plugin.version = {nullptr, 0};
    complains("version");
  }
  SECTION("an old descriptor") {
    example.plugin.struct_size = 24;
    complains("struct_size");
  }
  SECTION("no components where some are counted") {
    example.plugin.components = nullptr;
    complains("components");
  }
  SECTION("a component that is NULL") {
    example.list[0] = nullptr;
    complains("components[0]");
  }
  SECTION("a component that is too small") {
    example.component.struct_size = 16;
    complains("struct_size");
  }
  SECTION("a component without summary") {
    example.component.summary = str("");
    complains("x.a.summary");
  }
  SECTION("a component without create") {
    example.base.create = nullptr;
    complains("create");
  }
  SECTION("a component without interface") {
    example.component.interface = nullptr;
    complains("interface");
  }
  SECTION("a schema that is no JSON") {
    example.component.config_schema_json = str("{\"type\": ");
    complains("x.a.config_schema_json is not valid JSON");
  }
  SECTION("a schema that is no object") {
    example.component.config_schema_json = str("[1, 2]");
    complains("not an object");
  }
  SECTION("methods that are no JSON") {
    example.plugin.methods_json = str("nothing");
    complains("methods_json");
  }
  SECTION("two components with one id") {
    example.plugin.component_count = 2;
    complains("x.a");
  }
}

TEST_CASE("manifest: what is no plugin cannot be loaded", "[unit][manifest]") {
  CHECK_THROWS_WITH(manifest::load(temporary("missing.so")), Catch::Contains("cannot be loaded"));
  const auto file = temporary("text.so");
  write_file(file, "no library");
  CHECK_THROWS_WITH(manifest::load(file), Catch::Contains("cannot be loaded"));
  std::filesystem::remove(file);
}
