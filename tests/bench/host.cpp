// SPDX-License-Identifier: Apache-2.0
// What the host itself costs: one call of a component through the ABI, and a whole run whose components compute next to
// nothing. One line of JSON.
//   bench_host PLUGIN_FOLDER
#include "core/base/error.h"
#include "core/pipeline/pipeline.h"

#include <nlohmann/json.hpp>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

using namespace medgen;

namespace {

constexpr int kCalls = 200000;

constexpr const char* kPipeline = R"({
  "medgen": 1, "runtime": {"precision": "fp32"},
  "steps": {
    "ct": {
      "generate": {"components": {
        "compressor": {"component": "null.compressor", "config": {"factor": 4}},
        "denoiser": {"component": "null.denoiser"}, "scheduler": {"component": "null.scheduler"},
        "propagator": {"component": "null.propagator"}}},
      "size": [128, 128, 128], "spacing_mm": [1, 1, 1], "steps": 30},
    "save": {"write": "@ct", "to": "out"}}})";

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Of a call on one voxel, the best of five series.
double seconds_of_a_call(Host& host) {
  const auto denoiser = host.create_denoiser("null.denoiser", std::string());
  const TensorMap in = {{"x", Tensor(DType::F32, {1, 1, 1, 1, 1})}, {"timesteps", Tensor(DType::F32, {1})}};
  double best = 1e9;
  for (int series = 0; series < 5; ++series) {
    best = std::min(best, seconds([&] {
                      for (int i = 0; i < kCalls; ++i) denoiser->predict({}, in);
                    }));
  }
  return best / kCalls;
}

double seconds_of_a_run(Host& host) {
  const auto folder = std::filesystem::temp_directory_path() / ("medgen-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const double time = seconds([&] { Pipeline::parse(kPipeline, folder).run(host, RunObserver{}); });
  std::filesystem::remove_all(folder);
  return time;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: bench_host PLUGIN_FOLDER\n", stderr);
    return 2;
  }
  Host host(Registry::scan_only({argv[1]}));
  const double call = seconds_of_a_call(host);
  const double run = seconds_of_a_run(host);
  std::puts(nlohmann::json{{"who", "medgen host"}, {"call_microseconds", call * 1e6}, {"run_128_seconds", run}}
                .dump()
                .c_str());
}
