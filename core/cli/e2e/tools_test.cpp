// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"
#include "core/config/json.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using medgen::Json;
using medgen::e2e::Folder;
using medgen::e2e::Result;
using medgen::e2e::tool;

namespace {

bool lists(const Json& entries, const std::string& id) {
  return std::any_of(entries.begin(), entries.end(), [&](const Json& entry) { return entry.at("id") == id; });
}

}  // namespace

TEST_CASE("plugins are listed as a table and as a document", "[e2e][cli]") {
  CHECK(tool({"plugins"}).out.find("null.denoiser") != std::string::npos);
  const Json document = Json::parse(tool({"plugins", "--json"}).out);
  CHECK(lists(document.at("plugins"), "null"));
  CHECK(document.at("searched").is_array());
}

TEST_CASE("a plugin that is not taken is reported with its reason", "[e2e][cli]") {
  const Folder folder;
  folder.file("broken.medgen-plugin.json", "{\"medgen_plugin\": 1, \"id\": \"broken\"}");
  const Result result = tool({"plugins", "--plugin-dir", folder.path()});
  CHECK(result.code == 0);
  CHECK(result.err.find("broken.medgen-plugin.json") != std::string::npos);
  const Json document = Json::parse(tool({"plugins", "--json", "--plugin-dir", folder.path()}).out);
  CHECK(lists(document.at("rejected"), "broken"));
  const Result why = tool({"plugins", "--why", "broken", "--plugin-dir", folder.path()});
  CHECK(why.code == 0);
  CHECK(why.out.find("broken.medgen-plugin.json") != std::string::npos);
  CHECK(tool({"plugins", "--why", "never-heard-of"}).code == 0);
}

TEST_CASE("a component is described with its functions and its configuration", "[e2e][cli]") {
  const Result result = tool({"describe", "null.denoiser"});
  REQUIRE(result.code == 0);
  CHECK(result.out.find("Function predict") != std::string::npos);
  CHECK(result.out.find("scale") != std::string::npos);
  const Json document = Json::parse(tool({"describe", "null.denoiser", "--json"}).out);
  CHECK(document.at("what") == "component");
  CHECK(document.at("functions").contains("predict"));
  CHECK(document.at("config").at("properties").contains("scale"));
}

TEST_CASE("plugins and everything at once can be described", "[e2e][cli]") {
  CHECK(Json::parse(tool({"describe", "null", "--json"}).out).at("what") == "plugin");
  CHECK(tool({"describe", "null"}).out.find("null.denoiser") != std::string::npos);
  CHECK(lists(Json::parse(tool({"describe", "--json"}).out).at("components"), "null.denoiser"));
  const Result unknown = tool({"describe", "null.denoyser"});
  CHECK(unknown.code == 3);
  CHECK(unknown.err.find("did you mean 'null.denoiser'") != std::string::npos);
}

TEST_CASE("valid files are said to be valid, each by its kind", "[e2e][cli]") {
  const Folder folder;
  const std::string pipeline = folder.file(
      "p.json",
      R"({"medgen": 1, "steps": {"a": {"generate": "models/x", "size": [8, 8, 8], "spacing_mm": [1, 1, 1]}}})");
  const std::string manifest = MEDGEN_BINARY_DIR "/plugins/null.medgen-plugin.json";
  const Result result = tool({"validate", pipeline, manifest});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(result.out == pipeline + ": a valid pipeline\n" + manifest + ": a valid manifest\n");
  CHECK(Json::parse(tool({"validate", pipeline, "--resolved"}).out).at("seed") == 0);
  const Json document = Json::parse(tool({"validate", pipeline, "--json", "--resolved"}).out);
  CHECK(document.at("files").at(0).at("resolved").at("steps").at("a").at("batch") == 1);
}

TEST_CASE("an invalid file is refused with file, line and column, and the others are still checked", "[e2e][cli]") {
  const Folder folder;
  const std::string good = folder.file(
      "good.json", R"({"medgen": 1, "steps": {"a": {"generate": "m", "size": [8, 8, 8], "spacing_mm": [1, 1, 1]}}})");
  const std::string bad = folder.file("bad.json", "{\n  \"medgen\": 1,\n  \"steps\": {\"a\": {\"generat\": \"m\"}}\n}");
  const Result result = tool({"validate", bad, good});
  CHECK(result.code == 3);
  CHECK(result.err.find("bad.json:3:") != std::string::npos);
  CHECK(result.err.find("generate") != std::string::npos);
  CHECK(result.out == good + ": a valid pipeline\n");
  const Json document = Json::parse(tool({"validate", bad, good, "--json"}).out);
  CHECK(document.at("ok") == false);
  CHECK(document.at("files").at(0).at("error").at("code") == 3);
}

TEST_CASE("files that are nothing at all are refused", "[e2e][cli]") {
  const Folder folder;
  for (const std::string& contents :
       {std::string(), std::string("hello"), std::string("[]"), std::string("{}"), std::string("\0\xff\x01", 3),
        std::string(200000, '['), std::string("{\"medgen\": 1}"), std::string("{\"medgen\": 2, \"steps\": {}}"),
        std::string("{\"medgen_plugin\": 1}"), std::string("{\"medgen_model\": 1, \"x\": 1}")}) {
    const std::string file = folder.file("f.json", contents);
    const Result result = tool({"validate", file});
    INFO(contents.substr(0, 40) << " -> " << result.err);
    CHECK(result.code == 3);
    CHECK(result.out.empty());
    CHECK(result.err.find("f.json") != std::string::npos);
  }
  CHECK(tool({"validate", folder / "missing.json"}).code == 3);
}

TEST_CASE("the pipeline schema is a JSON document", "[e2e][cli]") {
  CHECK(Json::parse(tool({"schema"}).out).contains("$schema"));
}

TEST_CASE("the doctor finds this build healthy, and a broken plugin not", "[e2e][cli]") {
  const Json document = Json::parse(tool({"doctor", "--json"}).out);
  CHECK(document.contains("healthy"));
  CHECK(document.at("checks").size() > 4);
  const Folder folder;
  folder.file("broken.medgen-plugin.json", "{}");
  const Result broken = tool({"doctor", "--plugin-dir", folder.path()});
  CHECK(broken.code == 1);
  CHECK(broken.out.find("broken") != std::string::npos);
}

TEST_CASE("a plugin that ends its process does not pass the conformance checks", "[e2e][cli]") {
  const Folder folder;
  std::filesystem::copy(MEDGEN_BINARY_DIR "/tests/conformance/bad_plugins/exits.so", folder.path());
  folder.file("plain.medgen-plugin.json",
              R"({"medgen_plugin": 1, "id": "plain", "version": "1.0.0", "abi": {"major": 1, "minor": 0},
                  "library": "exits.so", "components": []})");
  const Result result = tool({"check-plugin", folder.path() / "plain.medgen-plugin.json"});
  CHECK(result.code == 5);
  CHECK(result.err.find("ended the checker's process with exit(0)") != std::string::npos);
}

TEST_CASE("the null plugin passes the conformance checks", "[e2e][cli]") {
  const Result result = tool({"check-plugin", MEDGEN_BINARY_DIR "/plugins/medgen-null.so"});
  INFO(result.out);
  CHECK(result.code == 0);
  CHECK(result.out.find("FAIL") == std::string::npos);
}
