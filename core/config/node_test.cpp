// SPDX-License-Identifier: Apache-2.0
#include "core/config/node.h"

#include "core/config/parse.h"
#include "core/config/paths.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>

namespace medgen {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Equals;

#define CHECK_MESSAGE(expression, message) CHECK_THROWS_MATCHES(expression, ConfigError, Catch::Message(message))

const char* const kPipeline = R"({ "medgen": 1,
  "seed": 42,  // a comment: { not counted }
  "steps": {
    "größe": { "a/b~c": [10, "x\"y", true, null] },
    "ct": { "mask": "labels/*.nii.gz", "spacing_mm": [1.5, 1.5, 2.0], "steps": 30,
            "a.b": 1e3, "memory": "1.5GiB" }
  } }
)";

ConfigNode pipeline() {
  return parse_config(kPipeline, "pipeline.json", "/data");
}

TEST_CASE("a node knows its line, column, pointer and path", "[unit][config]") {
  const ConfigNode ct = pipeline().at("steps").at("ct");
  CHECK(pipeline().where() == "pipeline.json:1:1");
  CHECK(ct.where() == "pipeline.json:5:11");
  CHECK(ct.where_key() == "pipeline.json:5:5");
  CHECK(ct.at("spacing_mm").at(2).where() == "pipeline.json:5:65");
  CHECK(ct.at("spacing_mm").at(2).path() == "steps.ct.spacing_mm[2]");
  CHECK(ct.at("spacing_mm").at(2).pointer() == "/steps/ct/spacing_mm/2");
  CHECK(ct.at("a.b").path() == "steps.ct[\"a.b\"]");
}

TEST_CASE("columns count characters, and positions survive escapes, comments and odd keys", "[unit][config]") {
  const ConfigNode list = pipeline().at("steps").at("größe").at("a/b~c");
  CHECK(list.pointer() == "/steps/größe/a~1b~0c");
  CHECK(list.where() == "pipeline.json:4:25");
  CHECK(list.at(1).where() == "pipeline.json:4:30");
  CHECK(list.at(2).where() == "pipeline.json:4:38");
  CHECK(pipeline().at("steps").where() == "pipeline.json:3:12");
}

TEST_CASE("a value that is not in the file has the place of its object", "[unit][config]") {
  const ConfigNode ct = pipeline().at("steps").at("ct");
  Json value = ct.json();
  value["method"] = "rflow";
  CHECK(ct.with_value(value).at("method").where() == "pipeline.json:5:11");
  CHECK(ct.with_value(value).at("steps").where() == "pipeline.json:5:80");
}

TEST_CASE("a document made in memory is named, without a line", "[unit][config]") {
  const ConfigNode node = ConfigNode::make({{"a", 1}}, "defaults");
  CHECK(node.at("a").where() == "defaults");
  CHECK_MESSAGE(node.at("b"), "defaults: the document needs the key \"b\"");
}

TEST_CASE("a node outlives the document it came from", "[unit][config]") {
  const ConfigNode steps = pipeline().at("steps").at("ct").at("steps");
  CHECK(steps.as<int>() == 30);
}

TEST_CASE("values are read as the types asked for", "[unit][config]") {
  const ConfigNode ct = pipeline().at("steps").at("ct");
  CHECK(ct.get<int>("steps") == 30);
  CHECK(ct.get<float>("steps") == 30.0f);
  CHECK(ct.get<int>("a.b") == 1000);
  CHECK(ct.get<std::vector<double>>("spacing_mm") == std::vector{1.5, 1.5, 2.0});
  CHECK(ct.get<std::string>("mask") == "labels/*.nii.gz");
  CHECK(ct.get<bool>("clip", true));
  CHECK(ct.at("memory").as_bytes() == 1610612736u);
  CHECK(ct.at("steps").as_bytes() == 30u);
}

TEST_CASE("a value of another type is refused with its place", "[unit][config]") {
  const ConfigNode root = parse_config(R"({"n": 300, "x": 1.5, "s": "a", "neg": -1, "big": 18446744073709551615,
 "list": [1, "two"], "size": "4 apples"})",
                                       "c.json");
  CHECK_MESSAGE(root.get<std::uint8_t>("n"), "c.json:1:7: n must be an integer from 0 to 255, got 300");
  CHECK_MESSAGE(root.get<std::int8_t>("n"), "c.json:1:7: n must be an integer from -128 to 127, got 300");
  CHECK_MESSAGE(root.get<unsigned>("neg"), "c.json:1:39: neg must be an integer from 0 to 4294967295, got -1");
  CHECK_MESSAGE(root.get<int>("x"), "c.json:1:17: x must be an integer, got 1.5");
  CHECK_MESSAGE(root.get<double>("s"), "c.json:1:27: s must be a number, got \"a\"");
  CHECK_MESSAGE(root.get<bool>("n"), "c.json:1:7: n must be true or false, got 300");
  CHECK_MESSAGE(root.get<std::string>("n"), "c.json:1:7: n must be a string, got 300");
  CHECK_MESSAGE(root.get<std::vector<int>>("list"), "c.json:2:14: list[1] must be an integer, got \"two\"");
  CHECK_MESSAGE(root.get<std::vector<int>>("n"), "c.json:1:7: n must be an array, got 300");
  CHECK_MESSAGE(root.at("size").as_bytes(),
                "c.json:2:30: size must be a number of bytes or a size such as \"4GiB\", got \"4 apples\"");
  CHECK_THROWS_AS(root.get<std::int64_t>("big"), ConfigError);
  CHECK(root.get<std::uint64_t>("big") == 18446744073709551615u);
}

TEST_CASE("a missing key or element is refused with its place and a suggestion", "[unit][config]") {
  const ConfigNode root = parse_config("{\"a\": {\"steps\": [1]},\n \"n\": 1}", "c.json");
  CHECK_MESSAGE(root.at("a").at("stpes"), "c.json:1:7: a needs the key \"stpes\" (did you mean 'steps'?)");
  CHECK_MESSAGE(root.at("a").at("zzz"), "c.json:1:7: a needs the key \"zzz\"");
  CHECK_MESSAGE(root.at("a").at("steps").at(1), "c.json:1:17: a.steps has 1 elements, [1] does not exist");
  CHECK_MESSAGE(root.at("n").at("x"), "c.json:2:7: n must be an object, got 1");
  CHECK_MESSAGE(root.at("n").at(0), "c.json:2:7: n must be an array, got 1");
  CHECK_MESSAGE(root.at("n").fail("must be even, got {}", 1), "c.json:2:7: n must be even, got 1");
}

TEST_CASE("sizes are decimal or binary units", "[unit][config]") {
  CHECK(parse_bytes("4GiB") == 4294967296u);
  CHECK(parse_bytes("512 MB") == 512000000u);
  CHECK(parse_bytes("1kb") == 1000u);
  CHECK(parse_bytes("0") == 0u);
  CHECK(parse_bytes("0.5 KiB") == 512u);
  for (const char* text : {"", "GiB", "-1", "1e3", "4 apples", "1.2.3", "99999999999999999999", "20000000 TiB",
                           "20000000.5 TiB", "4GiB "}) {
    CAPTURE(text);
    CHECK_FALSE(parse_bytes(text));
  }
}

/// A folder with files, removed at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fs::path("medgen [config] test")) {
    fs::remove_all(path_);
    fs::create_directories(path_ / "labels");
    for (const char* name : {"b.nii.gz", "a.nii.gz", "c.txt", "x[1].nii", "x1.nii"})
      std::ofstream(path_ / "labels" / name);
  }

  ~Folder() { fs::remove_all(path_); }

  const fs::path& path() const { return path_; }

  ConfigNode node(const std::string& json) const { return parse_config(json, "p.json", path_); }

 private:
  fs::path path_;
};

TEST_CASE("patterns name files below the document's folder, sorted and once", "[unit][config]") {
  const Folder folder;
  const fs::path labels = folder.path() / "labels";
  CHECK(expand_paths(folder.node(R"("labels/*.nii.gz")")) == std::vector{labels / "a.nii.gz", labels / "b.nii.gz"});
  CHECK(expand_paths(folder.node(R"(["labels/c.txt", "labels/[bc]*"])")) ==
        std::vector{labels / "c.txt", labels / "b.nii.gz"});
  CHECK(expand_paths(folder.node(R"("labels/x[1].nii")")) == std::vector{labels / "x[1].nii"});
  CHECK(expand_paths(folder.node(R"("labels")")) == std::vector{labels});
  CHECK(resolve_path(folder.node(R"("out/x")")) == folder.path() / "out/x");
  CHECK(resolve_path(folder.node(R"("/abs")")) == "/abs");
}

TEST_CASE("patterns that match nothing and paths that are none are refused", "[unit][config]") {
  const Folder folder;
  const std::string looked = (folder.path() / "labels/*.nrrd").string();
  CHECK_MESSAGE(expand_paths(folder.node("{\n \"mask\": \"labels/*.nrrd\"}").at("mask")),
                "p.json:2:10: mask matches no file: " + looked);
  CHECK_THROWS_AS(expand_paths(folder.node(R"("labels/missing.nii")")), ConfigError);
  CHECK_MESSAGE(expand_paths(folder.node("[]")),
                "p.json:1:1: the document must name at least one file, got an empty array");
  CHECK_MESSAGE(expand_paths(folder.node("7")), "p.json:1:1: the document must be a path or an array of paths, got 7");
  CHECK_MESSAGE(expand_paths(folder.node("[7]")), "p.json:1:2: [0] must be a string, got 7");
  CHECK_MESSAGE(resolve_path(folder.node("\"\"")), "p.json:1:1: the document must be a path, got an empty string");
  CHECK_MESSAGE(resolve_path(folder.node(R"("a\u0000b")")),
                "p.json:1:1: the document must be a path, got one with a zero byte");
}

}  // namespace
}  // namespace medgen
