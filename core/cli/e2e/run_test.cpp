// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"
#include "core/config/json.h"

#include <fmt/format.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <csignal>
#include <sstream>
#include <thread>

using medgen::Json;
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
