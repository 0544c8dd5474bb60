// SPDX-License-Identifier: Apache-2.0
#include "core/run/manifest.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>
#include <regex>

using namespace medgen;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

/// A place for one run, removed at the end of the test.
struct Place : TestFolder {
  fs::path folder = path / "out";

  RunFolder open(const std::string& fingerprint = "one", bool overwrite = false) const {
    return {folder, fingerprint, overwrite};
  }

  Json manifest() const { return Json::parse(read_file(folder / "run.json", 1 << 20)); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text;
  }

  /// Makes the file NAME.txt and records it as the sample NAME.
  void finish(RunFolder& run, const std::string& name) const {
    write(name + ".txt", name);
    run.add(name, {{"files", {{name + ".txt", sha256(name)}}}, {"seed", 3}});
  }

  /// The same as a part of the run, which then ends.
  void finish(Part part, const std::string& name) const {
    RunFolder run(folder, "one", false, part);
    run.start();
    finish(run, name);
  }
};

const Json kPipeline = {{"medgen", 1}, {"steps", Json::object()}};

}  // namespace

TEST_CASE("run: a folder is made, and a fresh one is nobody's continuation", "[unit][run]") {
  const Place place;
  const RunFolder run = place.open();
  CHECK(fs::is_directory(place.folder));
  CHECK_FALSE(run.continued());
  CHECK(run.empty());
  CHECK_FALSE(run.finished("a"));
}

TEST_CASE("run: the manifest is the pipeline, with the samples in it, and replaces the journal", "[unit][run]") {
  const bool complete = GENERATE(true, false);
  const Place place;
  RunFolder run = place.open();
  run.start();
  place.finish(run, "a");
  place.finish(run, "b");
  run.close(kPipeline, complete);
  const Json manifest = place.manifest();
  CHECK(manifest["medgen"] == 1);
  CHECK(manifest["run"]["status"] == (complete ? "complete" : "incomplete"));
  CHECK(manifest["run"]["fingerprint"] == "one");
  REQUIRE(manifest["run"]["samples"].size() == 2);
  CHECK(manifest["run"]["samples"][1]["name"] == "b");
  CHECK(manifest["run"]["samples"][1]["seed"] == 3);
  CHECK_FALSE(fs::exists(place.folder / "run.journal.jsonl"));
}

TEST_CASE("run: what a killed run had finished is still there", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    run.start();
    place.finish(run, "a");
  }
  const RunFolder again = place.open();
  CHECK(again.continued());
  CHECK(again.finished("a"));
  CHECK_FALSE(again.finished("b"));
}

TEST_CASE("run: samples of the manifest and of a later journal add up", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    run.start();
    place.finish(run, "a");
    run.close(kPipeline, false);
  }
  {
    RunFolder run = place.open();
    run.start();
    place.finish(run, "b");
  }
  RunFolder run = place.open();
  CHECK(run.finished("a"));
  CHECK(run.finished("b"));
  run.close(kPipeline, true);
  CHECK(place.manifest()["run"]["samples"].size() == 2);
}

TEST_CASE("run: a torn last line of the journal costs that line alone", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    run.start();
    place.finish(run, "a");
    std::ofstream(place.folder / "run.journal.jsonl", std::ios::app) << R"({"fingerprint": "one", "sample": {"na)";
  }
  {
    RunFolder run = place.open();
    CHECK(run.finished("a"));
    run.start();
    place.finish(run, "b");
  }
  const RunFolder run = place.open();
  CHECK(run.finished("a"));
  CHECK(run.finished("b"));
}

TEST_CASE("run: a sample whose file is gone or other bytes is made again", "[unit][run]") {
  const Place place;
  RunFolder run = place.open();
  place.finish(run, "a");
  SECTION("gone") {
    fs::remove(place.folder / "a.txt");
  }
  SECTION("changed") {
    place.write("a.txt", "b");
  }
  SECTION("a folder now") {
    fs::remove(place.folder / "a.txt");
    fs::create_directory(place.folder / "a.txt");
  }
  CHECK_FALSE(run.finished("a"));
}

TEST_CASE("run: a sample recorded without files is not finished", "[unit][run]") {
  const Place place;
  RunFolder run = place.open();
  const Json record = GENERATE(Json::object(), Json{{"files", Json::object()}}, Json{{"files", {"a.txt"}}},
                               Json{{"files", {{"a.txt", 7}}}}, Json{{"files", nullptr}});
  place.write("a.txt", "a");
  run.add("a", record);
  CHECK_FALSE(run.finished("a"));
}

TEST_CASE("run: the results of another run are refused, or forgotten when that is wanted", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    place.finish(run, "a");
    run.close(kPipeline, true);
  }
  CHECK_THROWS_AS(place.open("two"), DataError);
  CHECK_THROWS_WITH(place.open("two"), Contains(place.folder.string()) && Contains("overwrite"));
  CHECK(fs::exists(place.folder / "run.json"));
  const RunFolder run = place.open("two", true);
  CHECK_FALSE(run.continued());
  CHECK_FALSE(run.finished("a"));
  CHECK_FALSE(fs::exists(place.folder / "run.json"));
}

TEST_CASE("run: what differs from another run is told as far as records tell", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    place.finish(run, "a");
    run.close(
        Json{{"seed", 1}, {"steps", {{"ct", {{"size", {4, 5}}, {"mask", "m"}}}}}, {"run", {{"precision", "fp32"}}}},
        true);
  }
  const auto told = [&](const Json& steps, int seed, const char* precision, const std::string& text) {
    const auto now = std::make_shared<const Json>(
        Json{{"seed", seed}, {"steps", {{"ct", steps}}}, {"run", {{"precision", precision}}}});
    CHECK_THROWS_WITH(RunFolder::check(place.folder, "two", now), Contains(text));
  };
  const Json same = {{"size", {4, 5}}, {"mask", "m"}};
  told(same, 2, "fp32", "(seed is 2, was 1)");
  told(same, 1, "bf16", "(precision is \"bf16\", was \"fp32\")");
  told({{"size", {4, 6}}}, 1, "fp32", "(steps.ct.size.1 is 6, was 5; steps.ct.mask is missing, was \"m\")");
  told(same, 1, "fp32", "(another pipeline, seed, model or input)");
  place.write("run.json", R"({"run": {"fingerprint": "one"}, "steps": 5})");
  told(same, 1, "fp32", "another run");
}

TEST_CASE("run: a damaged manifest is refused as that, or forgotten", "[unit][run]") {
  const Place place;
  const auto* const text = GENERATE("", "{", "[]", R"({"run": 5})", R"({"run": {"fingerprint": 7}})");
  place.write("run.json", text);
  CHECK_THROWS_AS(place.open(), DataError);
  CHECK_THROWS_WITH(place.open(), Contains("run.json") && Contains("damaged") && Contains("overwrite"));
  CHECK_FALSE(place.open("one", true).continued());
}

TEST_CASE("run: what another run had finished when it was killed is refused, or forgotten", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    run.start();
    place.finish(run, "a");
  }
  CHECK_THROWS_AS(place.open("two"), DataError);
  CHECK_THROWS_WITH(place.open("two"), Contains(place.folder.string()) && Contains("overwrite"));
  CHECK(place.open().finished("a"));
  const RunFolder run = place.open("two", true);
  CHECK_FALSE(run.continued());
  CHECK_FALSE(run.finished("a"));
  CHECK_FALSE(fs::exists(place.folder / "run.journal.jsonl"));
}

TEST_CASE("run: another run that was killed before its first sample holds nothing", "[unit][run]") {
  const Place place;
  place.open().start();
  CHECK_FALSE(place.open("two").continued());
}

TEST_CASE("run: two runs do not write to one folder at the same time", "[unit][run]") {
  const Place place;
  {
    const RunFolder run = place.open();
    CHECK_THROWS_AS(place.open(), RuntimeError);
    CHECK_THROWS_WITH(place.open(), Contains("another run is writing to") && Contains(place.folder.string()));
  }
  CHECK_NOTHROW(place.open());
}

TEST_CASE("run: a manifest that was edited out of shape is somebody else's, never a crash", "[unit][run]") {
  const Place place;
  const std::string text = GENERATE("", "not JSON", "[]", "7", R"({"run": 3})", R"({"run": {"fingerprint": 5}})",
                                    R"({"run": {"fingerprint": "two", "samples": 1}})");
  place.write("run.json", text);
  CHECK_THROWS_AS(place.open(), DataError);
}

TEST_CASE("run: samples of a manifest that are out of shape are made again", "[unit][run]") {
  const Place place;
  const std::string samples = GENERATE("null", "7", "{}", "[7]", "[[]]", R"([{"name": 3}])", R"([{"name": ""}])",
                                       R"({"a": {"name": "a"}})", R"([{"name": "a", "files": 3}])");
  place.write("run.json", fmt::format(R"({{"run": {{"fingerprint": "one", "samples": {}}}}})", samples));
  const RunFolder run = place.open();
  CHECK(run.continued());
  CHECK_FALSE(run.finished("a"));
}

TEST_CASE("run: an output folder that cannot be made is an error that names it", "[unit][run]") {
  const Place place;
  std::ofstream(place.folder) << "a file";
  CHECK_THROWS_AS(place.open(), RuntimeError);
  CHECK_THROWS_WITH(RunFolder(place.folder / "deeper", "one", false), Contains("deeper"));
}

TEST_CASE("run: a journal that cannot be written is an error that names it", "[unit][run]") {
  const Place place;
  RunFolder run = place.open();
  fs::create_directory(place.folder / "run.journal.jsonl");
  CHECK_THROWS_WITH(run.start(), Contains("run.journal.jsonl"));
  CHECK_THROWS_AS(run.add("a", Json::object()), RuntimeError);
  CHECK(run.empty());
}

TEST_CASE("run: a run that failed at once leaves no trace where it made the folder", "[unit][run]") {
  const Place place;
  {
    RunFolder run = place.open();
    run.start();
    fs::create_directory(place.folder / "images");
    run.discard();
  }
  CHECK_FALSE(fs::exists(place.folder));
}

TEST_CASE("run: discarding touches nothing that was there before, and no file", "[unit][run]") {
  const Place place;
  SECTION("the user's folder") {
    fs::create_directories(place.folder);
    place.open().discard();
    CHECK(fs::exists(place.folder));
  }
  SECTION("a file in a folder of ours") {
    RunFolder run = place.open();
    place.write("images/a.txt", "a");
    run.discard();
    CHECK(fs::exists(place.folder / "images" / "a.txt"));
  }
}

TEST_CASE("run: time is plausible", "[unit][run]") {
  CHECK(std::regex_match(utc_now(), std::regex("20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z")));
}

TEST_CASE("run folder: parts are made at the same time, and the last one describes the run", "[unit][run]") {
  const Place place;
  RunFolder first(place.folder, "one", false, {0, 2});
  RunFolder second(place.folder, "one", false, {1, 2});
  first.start();
  second.start();
  place.finish(first, "a");
  place.finish(second, "b");
  first.add_part({{"part", "1/2"}});
  CHECK_FALSE(first.last_of({"a", "b", "c"}));
  place.finish(second, "c");
  second.add_part({{"part", "2/2"}});
  REQUIRE(second.last_of({"a", "b", "c"}));
  second.close(kPipeline, true);
  const Json run = place.manifest()["run"];
  CHECK(run["status"] == "complete");
  CHECK(run["samples"].size() == 3);
  CHECK(run["parts"] == Json::array({{{"part", "1/2"}}, {{"part", "2/2"}}}));
  CHECK_FALSE(fs::exists(place.folder / "run.journal.1-of-2.jsonl"));
  CHECK_FALSE(fs::exists(place.folder / "run.journal.2-of-2.jsonl"));
}

TEST_CASE("run folder: a part knows what others have finished, whatever the division", "[unit][run]") {
  const Place place;
  place.finish({2, 5}, "a");
  CHECK(RunFolder(place.folder, "one", false, {0, 2}).finished("a"));
  CHECK(place.open().finished("a"));
}

TEST_CASE("run folder: a part that ends first leaves the rest to others", "[unit][run]") {
  const Place place;
  RunFolder part(place.folder, "one", false, {0, 2});
  part.start();
  place.finish(part, "a");
  CHECK_FALSE(part.last_of({"a", "b"}));
  CHECK_FALSE(fs::exists(place.folder / "run.json"));
}

TEST_CASE("run folder: the same part twice, and a part beside a whole run, are refused", "[unit][run]") {
  const Place place;
  RunFolder part(place.folder, "one", false, {0, 2});
  part.start();
  RunFolder again(place.folder, "one", false, {0, 2});
  CHECK_THROWS_WITH(again.start(), Contains("another run is writing"));
  CHECK_THROWS_WITH(place.open(), Contains("another run is writing"));
  const Place other;
  const RunFolder whole = other.open();
  CHECK_THROWS_WITH(RunFolder(other.folder, "one", false, Part{0, 2}), Contains("another run is writing"));
}

TEST_CASE("run folder: a part of another run is refused, or forgets that run", "[unit][run]") {
  const Place place;
  place.finish({0, 2}, "a");
  CHECK_THROWS_AS(RunFolder(place.folder, "two", false, Part{1, 2}), DataError);
  RunFolder mine(place.folder, "two", true, {1, 2});
  mine.start();
  CHECK_FALSE(mine.finished("a"));
  CHECK_FALSE(RunFolder(place.folder, "two", true, Part{0, 2}).finished("a"));
  CHECK(fs::exists(place.folder / "run.journal.2-of-2.jsonl"));
}

TEST_CASE("run folder: a part that failed before its first sample leaves those of others", "[unit][run]") {
  const Place place;
  RunFolder first(place.folder, "one", false, {0, 2});
  first.start();
  place.finish(first, "a");
  RunFolder second(place.folder, "one", false, {1, 2});
  second.start();
  second.discard();
  CHECK(fs::exists(place.folder / "run.journal.1-of-2.jsonl"));
  CHECK_FALSE(fs::exists(place.folder / "run.journal.2-of-2.jsonl"));
}
