// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/config/json.h"
#include "core/train/loop.h"

#include <catch2/catch.hpp>

#include <unistd.h>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

namespace medgen::testing {

/// One weight, which goes against the batch's slope; its average follows, its moment remembers the last gradient. All
/// of it decides what comes next, so that a resumed training shows what was not restored.
class Fake : public Learner {
 public:
  float weight = 1, average = 1, moment = 0, applied = 0;
  double gradient = 0;
  std::vector<double> rates;
  std::vector<std::uint32_t> steps;
  std::uint64_t bad_batch = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t refused_batch = std::numeric_limits<std::uint64_t>::max();

  std::map<std::string, double> step(const CallContext& context, const TensorMap& batch) override {
    REQUIRE((context.flags & MEDGEN_CALL_TRAINING) != 0);
    steps.push_back(context.step);
    const double slope = batch.at("x").values<float>()[0];
    gradient += slope;
    if (context.step == refused_batch) throw PluginError("label 7 is none of the classes");
    if (context.step == bad_batch) return {{"loss", std::numeric_limits<double>::quiet_NaN()}};
    return {{"loss", weight * slope}, {"slope", slope}};
  }

  void apply(const CallContext&, double learning_rate) override {
    moment = 0.5F * moment + static_cast<float>(gradient);
    weight -= static_cast<float>(learning_rate) * moment;
    average = 0.9F * average + 0.1F * weight;
    gradient = 0;
    ++applied;
    rates.push_back(learning_rate);
  }

  void save(std::uint32_t what, const TakeTensor& take) override {
    if ((what & MEDGEN_TRAIN_WEIGHTS) != 0) take("weights/w", Tensor::scalar(weight));
    if ((what & MEDGEN_TRAIN_EMA) != 0) take("ema/w", Tensor::scalar(average));
    if ((what & MEDGEN_TRAIN_OPTIMIZER) == 0) return;
    take("optimizer/w/m", Tensor::scalar(moment));
    take("optimizer/step", Tensor::scalar(applied));
  }

  void load(std::uint32_t what, const FindTensor& find) override {
    const auto value = [&](const char* name) { return find(name)->values<float>()[0]; };
    if ((what & MEDGEN_TRAIN_WEIGHTS) != 0) weight = value("weights/w");
    if ((what & MEDGEN_TRAIN_EMA) != 0) average = value("ema/w");
    if ((what & MEDGEN_TRAIN_OPTIMIZER) == 0) return;
    moment = value("optimizer/w/m");
    applied = value("optimizer/step");
  }

  /// Steps of the optimiser, those of earlier runs too: told by the weights alone.
  std::size_t rates_in_all() const { return static_cast<std::size_t>(std::lround(applied)); }

  bool operator==(const Fake& other) const {
    return weight == other.weight && average == other.average && moment == other.moment;
  }
};

inline TensorMap batch_of(std::uint64_t batch) {
  return {{"x", Tensor::scalar(static_cast<float>(std::sin(static_cast<double>(batch) + 1)))}};
}

/// A folder for one training.
struct Place : TestFolder {
  std::filesystem::path file(const char* name) const { return path / "training" / name; }

  std::filesystem::path checkpoint() const { return file("checkpoint.safetensors"); }

  LoopOptions options(std::uint64_t iterations) const {
    LoopOptions options;
    options.step = "net";
    options.iterations = iterations;
    options.learning_rate = 0.1;
    options.log_every = 1;
    options.folder = path / "training";
    options.fingerprint = "one";
    return options;
  }

  /// log.jsonl, by line; defined in loop_test.cpp.
  std::vector<Json> log() const;

  /// What TensorBoard's files say, oldest first.
  std::vector<std::string> events() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(path / "training" / "events"))
      files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::vector<std::string> texts;
    for (const std::filesystem::path& file : files) texts.push_back(read_file(file, 1 << 20));
    return texts;
  }
};

}  // namespace medgen::testing
