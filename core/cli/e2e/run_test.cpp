// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"
#include "core/config/json.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <sstream>
#include <thread>

using medgen::Json;
using medgen::e2e::contents_of;
using medgen::e2e::Folder;
using medgen::e2e::Result;
using medgen::e2e::run;
using medgen::e2e::shell;
using medgen::e2e::tool;

namespace {

/// A pipeline of null components that samples `count` volumes of 16 voxels a side.
std::string pipeline(int steps, int count) {
  return fmt::format(R"({{
  "medgen": 1, "seed": 7,
  "steps": {{
    "made": {{
      "generate": {{"components": {{"denoiser": {{"component": "null.denoiser"}},
                                    "scheduler": {{"component": "null.scheduler"}},
                                    "propagator": {{"component": "null.propagator"}}}}}},
      "size": [16, 16, 16], "spacing_mm": [1, 1, 1], "steps": {}, "count": {}}},
    "saved": {{"write": "@made", "to": "out"}} }} }})",
                     steps, count);
}

}  // namespace

TEST_CASE("a pipeline runs, and what it wrote is on standard output", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(3, 2));
  const Result result = tool({"run", file});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.out == (folder / "out") + '\n');
  CHECK(std::filesystem::exists(folder / "out/run.json"));
}

TEST_CASE("a run's result and events are JSON when asked for", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(3, 1));
  const Result result = run("medgen-run", {file, "--json", "--progress=json"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  const Json document = Json::parse(result.out);
  CHECK(document.at("status") == "done");
  CHECK(document.at("steps") == Json::array({"made", "saved"}));
  bool sampled = false;
  std::istringstream lines(result.err);
  for (std::string line; std::getline(lines, line);) {
    const Json event = Json::parse(line);
    sampled = sampled || (event.at("event") == "progress" && event.at("step") == "made");
  }
  CHECK(sampled);
}

TEST_CASE("a plan says what would be done and does nothing", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(3, 2));
  const Result plan = tool({"plan", file, "--set", "steps.made.count=5", "--json"});
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK(Json::parse(plan.out).at("steps").at(0).at("samples") == 5);
  const Result dry = tool({"run", file, "--dry-run"});
  CHECK(dry.code == 0);
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };  // others may vary
  CHECK(first_line(dry.out) == first_line(tool({"plan", file}).out));
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
}

TEST_CASE("a pipeline can come from standard input", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(2, 1));
  const Result result = shell("cd " + folder.path().string() + " && medgen run - < p.json");
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(std::filesystem::exists(folder / "out/run.json"));
}

TEST_CASE("options override the pipeline, and typing errors in them are found", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(2, 1));
  const Result seed = tool({"run", file, "--seed", "99", "--threads", "1", "--precision", "fp32", "--json"});
  INFO(seed.err);
  CHECK(Json::parse(seed.out).at("seed") == 99);
  const Result typo = tool({"run", file, "--set", "steps.maed.count=1"});
  CHECK(typo.code == 3);
  CHECK(typo.err.find("made") != std::string::npos);
}

TEST_CASE("an interrupted run ends with exit code 130, and the second interrupt ends it at once", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(100000, 50));
  for (const int signal : {SIGINT, SIGTERM}) {
    const Result result = run("medgen", {"run", file}, [signal](pid_t child) {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      ::kill(child, signal);
    });
    INFO(result.err);
    CHECK(result.code == 130);
    CHECK(result.err.find("stopping") != std::string::npos);
    CHECK(result.seconds < 30);
  }
}

TEST_CASE("a trace shows every component and nests", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(3, 2));
  const Result result = run("medgen-run", {file, "--trace", folder / "trace.json"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  std::vector<std::pair<double, double>> ranges;  // of the first thread
  std::map<std::string, int> counts;
  const Json trace = Json::parse(contents_of(folder / "trace.json"));
  for (const Json& event : trace.at("traceEvents")) {
    ++counts[event.at("name")];
    if (event.at("ph") != "X" || event.at("tid") != 1) continue;
    const double begin = event.at("ts"), duration = event.at("dur");
    ranges.emplace_back(begin, begin + duration);
  }
  CHECK(counts["null.denoiser: predict"] == 6);
  CHECK(counts["null.scheduler: update"] == 6);
  CHECK(counts["evaluation"] == 6);
  CHECK(counts["update"] == 6);
  for (const char* name : {"null.propagator: next", "null.propagator: finish", "noise", "step saved", "window"})
    CHECK(counts[name] >= 1);
  for (const auto& [begin, end] : ranges) {
    for (const auto& [other_begin, other_end] : ranges) {
      const bool crossing = begin < other_begin && other_begin < end && end < other_end;
      REQUIRE_FALSE(crossing);
    }
  }
}

TEST_CASE("a trace that cannot be written stops the run before it starts", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(3, 2));
  for (const std::string& path : {folder / "nowhere/trace.json", folder.path().string()}) {
    const Result result = tool({"run", file, "--trace", path});
    CHECK(result.code == 1);
    CHECK(result.err.find(path) != std::string::npos);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK_FALSE(std::filesystem::exists(folder / "out"));
  }
}

TEST_CASE("a run that is stopped or fails leaves its trace", "[e2e][cli]") {
  const Folder folder;
  const std::string file = folder.file("p.json", pipeline(20000, 50));
  const Result stopped = run("medgen", {"run", file, "--trace", folder / "stopped.json"}, [](pid_t child) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    ::kill(child, SIGINT);
  });
  INFO(stopped.err);
  CHECK(stopped.code == 130);
  CHECK_FALSE(Json::parse(contents_of(folder / "stopped.json")).at("traceEvents").empty());
  const Result failed = tool({"run", file, "--set", "steps.saved.to=" + file, "--trace", folder / "failed.json"});
  INFO(failed.err);
  CHECK(failed.code != 0);
  CHECK(Json::parse(contents_of(folder / "failed.json")).contains("traceEvents"));
}

TEST_CASE("events are JSON to the last line, also when a run fails", "[e2e][cli]") {
  const Folder folder;
  const Result result =
      tool({"run", folder.file("p.json", pipeline(2, 1)), "--progress", "json", "--set", "steps.x.y=1"});
  CHECK(result.code == 3);
  const Json event = Json::parse(result.err);
  CHECK(event.at("event") == "error");
  CHECK(event.at("error").at("code") == 3);
}

TEST_CASE("a quiet run says nothing", "[e2e][cli]") {
  const Folder folder;
  const Result result = tool({"run", folder.file("p.json", pipeline(2, 1)), "--quiet"});
  CHECK(result.code == 0);
  CHECK(result.err.empty());
}
