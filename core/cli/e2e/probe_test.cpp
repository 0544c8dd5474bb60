// SPDX-License-Identifier: Apache-2.0
#include "core/cli/e2e/process.h"
#include "core/config/json.h"
#include "core/weights/safetensors.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <thread>

using medgen::DType;
using medgen::Json;
using medgen::SafetensorsFile;
using medgen::Tensor;
using medgen::write_safetensors;
using medgen::e2e::contents_of;
using medgen::e2e::Folder;
using medgen::e2e::Result;
using medgen::e2e::tool;

namespace {

constexpr std::array<float, 8> kValues = {1, -2, 3, 4, 5, 6, 7, 8.5};

/// A folder with x.safetensors for a denoiser.
struct Bench : Folder {
  Bench() {
    const std::array<float, 1> time = {0.5};
    write_safetensors(path() / "x.safetensors", {{"x", Tensor::from<float>(kValues, {1, 1, 2, 2, 2})},
                                                 {"timesteps", Tensor::from<float>(time, {1})}});
  }

  Result probe(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"probe", "null.denoiser",        "predict", "--in", *this / "x.safetensors",
                                          "--out", *this / "y.safetensors"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return tool(arguments);
  }

  bool wrote() const { return std::filesystem::exists(*this / "y.safetensors"); }
};

}  // namespace

TEST_CASE("probe runs a function on tensors and writes what it gives", "[e2e][cli]") {
  const Bench bench;
  const Result result = bench.probe({"--set", "scale=2"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.out == "out  F32  1x1x2x2x2\n");
  const SafetensorsFile file(bench / "y.safetensors");
  const auto out = file.tensors().at("out").values<float>();
  for (std::size_t i = 0; i < kValues.size(); ++i) CHECK(out[i] == 2 * kValues[i]);
}

TEST_CASE("probe reads its configuration with comments, and --set overrides it", "[e2e][cli]") {
  const Bench bench;
  const std::string config = bench.file("c.json", "{\n  // three times\n  \"scale\": 3\n}\n");
  REQUIRE(bench.probe({"--config", config}).code == 0);
  CHECK(SafetensorsFile(bench / "y.safetensors").tensors().at("out").values<float>()[0] == 3);
  REQUIRE(bench.probe({"--config", config, "--set", "scale=4"}).code == 0);
  CHECK(SafetensorsFile(bench / "y.safetensors").tensors().at("out").values<float>()[0] == 4);
}

TEST_CASE("probe --json tells names, types, shapes and time", "[e2e][cli]") {
  const Bench bench;
  const Result result = bench.probe({"--json", "--describe"});
  REQUIRE(result.code == 0);
  const Json document = Json::parse(result.out);
  CHECK(document.at("outputs").at("out").at("shape") == Json::array({1, 1, 2, 2, 2}));
  CHECK(document.at("seconds").is_number());
  CHECK(document.at("facts").is_object());
}

TEST_CASE("probe does a scheduler's arithmetic", "[e2e][cli]") {
  const Bench bench;
  const Result result =
      tool({"probe", "scheduler.rflow", "timesteps", "--params", R"({"num_inference_steps": 4, "shape": [1, 8, 8, 8]})",
            "--out", bench / "t.safetensors"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(SafetensorsFile(bench / "t.safetensors").tensors().at("timesteps").size() == 4);
}

TEST_CASE("a probe that cannot be done says why, has the exit code of the reason, and writes nothing", "[e2e][cli]") {
  const Bench bench;
  const std::string typo = bench.file("typo.json", "{\n  \"scael\": 3\n}\n");
  const std::string torn = bench.file("torn.safetensors", contents_of(bench / "x.safetensors").substr(0, 90));
  const std::string broken = bench.file("broken.json", "{\"scale\": }");

  struct Case {
    int code;
    std::vector<std::string> arguments;
    std::string message;
  };

  const std::vector<Case> cases = {
      {3, {"--config", typo}, "typo.json:2:3"},
      {3, {"--config", typo}, "did you mean"},
      {3, {"--config", broken}, "broken.json:1:11"},
      {3, {"--config", bench / "missing.json"}, "missing.json"},
      {3, {"--set", "scale=\"two\""}, "scale"},
      {3, {"--params", "{\"a\""}, "--params"},
      {4, {"--weights", bench / "missing.safetensors"}, "missing.safetensors"},
      {4, {"--weights", torn}, "torn.safetensors"},
  };
  for (const Case& each : cases) {
    INFO(each.message);
    const Result result = bench.probe(each.arguments);
    CHECK(result.code == each.code);
    CHECK(result.out.empty());
    CHECK(result.err.find(each.message) != std::string::npos);
    CHECK_FALSE(bench.wrote());
  }
}

TEST_CASE("a probe with bad inputs names them", "[e2e][cli]") {
  const Bench bench;
  const std::string torn = bench.file("torn.safetensors", contents_of(bench / "x.safetensors").substr(0, 90));
  const std::string out = bench / "y.safetensors";
  CHECK(tool({"probe", "null.denoiser", "predict", "--in", torn, "--out", out}).code == 4);
  CHECK(tool({"probe", "null.denoiser", "predict", "--in", bench / "missing", "--out", out}).code == 4);
  const Result unknown = tool({"probe", "null.denoiser", "decode", "--in", bench / "x.safetensors", "--out", out});
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("decode") != std::string::npos);
  const Result nobody = tool({"probe", "null.denoyser", "predict", "--in", bench / "x.safetensors", "--out", out});
  CHECK(nobody.code == 3);
  CHECK(nobody.err.find("did you mean 'null.denoiser'") != std::string::npos);
  CHECK_FALSE(bench.wrote());
}

TEST_CASE("a plugin that misbehaves is exit code 5, and nothing is written", "[e2e][cli]") {
  const Bench bench;
  for (const char* mode : {"fail", "bad-status", "no-output"}) {
    INFO(mode);
    const Result result = bench.probe({"--set", "fail=predict", "--set", std::string("mode=") + mode});
    CHECK(result.code == 5);
    CHECK(result.err.find("null.denoiser") != std::string::npos);
    CHECK_FALSE(bench.wrote());
  }
}

TEST_CASE("a probe can be interrupted", "[e2e][cli]") {
  const Bench bench;
  const Result result = medgen::e2e::run(
      "medgen",
      {"probe", "null.denoiser", "predict", "--in", bench / "x.safetensors", "--out", bench / "y.safetensors", "--set",
       "fail=predict", "--set", "mode=slow", "--set", "slow_ms=60000"},
      [](pid_t child) {
        std::this_thread::sleep_for(std::chrono::seconds(1));
        ::kill(child, SIGINT);
      });
  CHECK(result.code == 130);
  CHECK(result.seconds < 30);
  CHECK_FALSE(bench.wrote());
}

TEST_CASE("a probe whose result cannot be written fails without leaving anything", "[e2e][cli]") {
  const Bench bench;
  const Result result = tool(
      {"probe", "null.denoiser", "predict", "--in", bench / "x.safetensors", "--out", bench / "no/such/y.safetensors"});
  CHECK(result.code == 1);
  CHECK(result.err.find("no/such") != std::string::npos);
  CHECK(bench.names() == std::vector<std::string>{"x.safetensors"});
}
