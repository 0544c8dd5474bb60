// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"
#include "core/component/gradient_exchange.h"
#include "core/config/json.h"
#include "core/parallel/testing/processes.h"
#include "core/train/loop.h"
#include "core/train/shared_mean.h"
#include "core/weights/safetensors.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <unistd.h>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

using namespace medgen;
using Catch::Matchers::Contains;
using testing::in_processes;
using testing::Process;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kBatch = 6;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

struct Place : TestFolder {
  fs::path checkpoint() const { return path / "checkpoint.safetensors"; }

  std::string iteration() const { return SafetensorsFile(checkpoint()).metadata().at("medgen.iteration"); }

  std::size_t logged() const {
    const std::string text = read_file(path / "log.jsonl", 1 << 20);
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }
};

/// A weight and its momentum; the gradient is the mean of the batch's rows.
class Fake : public Learner {
 public:
  float weight = 1, momentum = 0;
  bool exchanges = true;
  float drift = 0;  ///< what this process adds by itself
  std::uint64_t throws_at = kNever, nan_at = kNever;

  std::map<std::string, double> step(const CallContext& context, const TensorMap& batch) override {
    if (context.step == throws_at) throw DataError("bad.nii is damaged");
    const auto rows = batch.at("x").values<float>();
    double mean = 0;
    for (const float row : rows) mean += row / static_cast<double>(rows.size());
    gradient_ += static_cast<float>(mean);
    if (context.gradients != nullptr && exchanges) {
      Tensor shared = Tensor::scalar(static_cast<float>(gradient_ * context.gradients->share()));
      context.gradients->begin_sum(shared.abi(), nullptr);
      context.gradients->finish();
      gradient_ = shared.values<float>()[0];
    }
    if (context.step == nan_at) mean = std::numeric_limits<double>::quiet_NaN();
    return {{"loss", weight * mean}};
  }

  void apply(const CallContext&, double learning_rate) override {
    momentum = 0.5F * momentum + gradient_;
    weight -= static_cast<float>(learning_rate) * momentum + drift;
    gradient_ = 0;
  }

  void save(std::uint32_t what, const TakeTensor& take) override {
    if ((what & MEDGEN_TRAIN_WEIGHTS) != 0) take("weights/w", Tensor::scalar(weight));
    if ((what & MEDGEN_TRAIN_OPTIMIZER) != 0) take("optimizer/w/m", Tensor::scalar(momentum));
  }

  void load(std::uint32_t, const FindTensor& find) override {
    weight = find("weights/w")->values<float>()[0];
    momentum = find("optimizer/w/m")->values<float>()[0];
  }

 private:
  float gradient_ = 0;
};

LoopOptions options_in(const Place& place, Group& group, std::uint64_t iterations) {
  LoopOptions options;
  options.step = "net";
  options.iterations = iterations;
  options.learning_rate = 0.1;
  options.log_every = 1;
  options.accumulate = 2;
  options.folder = place.path;
  options.fingerprint = "one";
  options.group = &group;
  options.share = BatchShare::of(kBatch, group.part());
  return options;
}

LoopResult train(Fake& fake, const LoopOptions& options, const RunObserver& observer = {},
                 const LoopHooks& hooks = {}) {
  const auto rows = [&](std::uint64_t batch) {
    std::vector<float> values;
    for (std::uint64_t row = 0; row < options.share.rows; ++row)
      values.push_back(std::sin(static_cast<float>(batch * kBatch + options.share.first + row)));
    return TensorMap{{"x", Tensor::from<float>(values, {static_cast<std::int64_t>(values.size())}).clone()}};
  };
  return train_loop(fake, rows, options, observer, hooks);
}

/// Trains in `count` processes; `prepare(fake, rank)` comes first.
template <typename Prepare>
auto train_in(int count, const Place& place, std::uint64_t iterations, const Prepare& prepare) {
  return in_processes(count, [&](Process& process) {
    Fake fake;
    prepare(fake, process.group.rank());
    RunObserver observer;
    observer.cancel = &process.cancel;
    try {
      train(fake, options_in(place, process.group, iterations), observer);
    } catch (const Error& error) {
      process.group.fail(error.kind(), error.what());
      throw;
    }
    return fake.weight;
  });
}

const auto kNothing = [](Fake&, int) {};

float trained_alone(std::uint64_t iterations) {
  const Place place;
  Fake fake;
  train(fake, options_in(place, Alone::instance(), iterations));
  return fake.weight;
}

}  // namespace

TEST_CASE("train together: processes end where one does, and one of them writes", "[unit][train]") {
  const int count = GENERATE(2, 3, 4);
  const Place place;
  auto [results, processes] = train_in(count, place, 9, kNothing);
  const float first = results[0].get();
  CHECK(first == Approx(trained_alone(9)).epsilon(1e-6));
  for (std::size_t i = 1; i < results.size(); ++i) CHECK(results[i].get() == first);
  CHECK(place.logged() == 9);
  CHECK(place.iteration() == "9");
}

TEST_CASE("train together: another number of processes goes on", "[unit][train]") {
  const Place place;
  for (const auto& [count, iterations] : {std::pair(2, 3), std::pair(4, 5), std::pair(1, 7), std::pair(3, 9)}) {
    auto [results, processes] = train_in(count, place, static_cast<std::uint64_t>(iterations), kNothing);
    CHECK(results[0].get() == Approx(trained_alone(static_cast<std::uint64_t>(iterations))).epsilon(1e-6));
  }
  CHECK(place.logged() == 9);
}

TEST_CASE("train together: a failure of one leaves the checkpoint of the iteration before", "[unit][train]") {
  const int bad = GENERATE(0, 1);
  const std::uint64_t batch = GENERATE(10, 11);  // the first and the second that are gathered for iteration 6
  const Place place;
  {
    auto [results, processes] = train_in(2, place, 9, [&](Fake& fake, int rank) {
      if (rank == bad) fake.throws_at = batch;
    });
    CHECK_THROWS_AS(results[static_cast<std::size_t>(bad)].get(), DataError);
    CHECK_THROWS_AS(results[static_cast<std::size_t>(1 - bad)].get(), Cancelled);
    CHECK(processes[static_cast<std::size_t>(1 - bad)]->group.failure()->message == "bad.nii is damaged");
  }
  CHECK(place.iteration() == "5");
  auto [results, processes] = train_in(2, place, 9, kNothing);
  CHECK(results[0].get() == Approx(trained_alone(9)).epsilon(1e-6));
}

TEST_CASE("train together: a loss that is not finite ends all, and is not saved", "[unit][train]") {
  const int bad = GENERATE(0, 2);
  const Place place;
  auto [results, processes] = train_in(3, place, 9, [&](Fake& fake, int rank) {
    if (rank == bad) fake.nan_at = 7;
  });
  for (int rank = 0; rank < 3; ++rank) {
    auto& result = results[static_cast<std::size_t>(rank)];
    if (rank == bad) CHECK_THROWS_WITH(result.get(), Contains("loss is nan at iteration 3"));
    if (rank != bad) CHECK_THROWS_AS(result.get(), Cancelled);
  }
  // The process that is told of it writes the state before.
  CHECK(fs::exists(place.checkpoint()) == (bad != 0));
  if (bad != 0) CHECK(place.iteration() == "3");
}

TEST_CASE("train together: validation, the best state and patience are everybody's, samples the first one's",
          "[unit][train]") {
  const Place place;
  std::atomic<int> samples = 0;
  const auto all = [&](Process& process) {
    LoopOptions options = options_in(place, process.group, 100);
    options.validate_every = 2;
    options.sample_every = 3;
    options.patience = 2;
    options.keep_best = true;
    LoopHooks hooks;
    Fake fake;
    std::uint64_t asked = 0;
    // Five rows, which come to |4 - validations so far| on the mean: the best is the fourth.
    hooks.validate = [&] {
      ++asked;
      return shared_mean(5, process.group, [&](std::size_t row) {
        return Scalars{{"loss", std::abs(4.0 - static_cast<double>(asked)) * static_cast<double>(row) / 2}};
      });
    };
    hooks.sample = [&](std::uint64_t) {
      ++samples;
      return TrainingSample{};
    };
    const LoopResult result = train(fake, options, {}, hooks);
    return std::pair(result, fake.weight);
  };
  auto [results, processes] = in_processes(3, all);
  float first = 0;
  for (auto& result : results) {
    const auto [end, weight] = result.get();
    if (first == 0) first = weight;
    CHECK(weight == first);
    CHECK(end.ended_early);
    CHECK(end.state.iteration == 12);
    CHECK(end.kept == 8);
    CHECK(end.state.best->loss == 0);
  }
  CHECK(samples == 4);
  CHECK(first == Approx(trained_alone(8)).epsilon(1e-6));
}

TEST_CASE("train together: samples that hold nothing end all", "[unit][train]") {
  const Place place;
  auto [results, processes] = in_processes(2, [&](Process& process) {
    Fake fake;
    LoopOptions options = options_in(place, process.group, 100);
    options.sample_every = 1;
    LoopHooks hooks;
    hooks.sample = [](std::uint64_t) { return TrainingSample{"", {{"sample", 0.0}}}; };
    try {
      train(fake, options, {}, hooks);
    } catch (const Error& error) {
      process.group.fail(error.kind(), error.what());
      throw;
    }
  });
  CHECK_THROWS_AS(results[0].get(), RuntimeError);
  CHECK_THROWS_AS(results[1].get(), Cancelled);
}

TEST_CASE("shared mean: that of one process, the same bits in all, also with fewer rows", "[unit][train]") {
  const std::size_t rows = GENERATE(1U, 2U, 3U, 10U);
  const auto value = [](std::size_t row) {
    return Scalars{{"loss", std::sin(static_cast<double>(row))}, {"kl", static_cast<double>(row)}};
  };
  const Scalars alone = shared_mean(rows, Alone::instance(), value);
  CHECK(alone.at("kl") == Approx(static_cast<double>(rows - 1) / 2));
  auto [results, processes] =
      in_processes(3, [&](Process& process) { return shared_mean(rows, process.group, value); });
  const Scalars first = results[0].get();
  CHECK(first.at("loss") == Approx(alone.at("loss")));
  CHECK(first.at("kl") == Approx(alone.at("kl")));
  for (std::size_t i = 1; i < 3; ++i) CHECK(results[i].get() == first);
}

TEST_CASE("train together: one that is cancelled stops all after the same iteration", "[unit][train]") {
  const Place place;
  auto [results, processes] = in_processes(3, [&](Process& process) {
    Fake fake;
    RunObserver observer;
    observer.cancel = &process.cancel;
    observer.progress = [&](const Progress& progress) {
      if (process.group.rank() == 2 && progress.done == 4) process.cancel.cancel();
    };
    train(fake, options_in(place, process.group, 100000), observer);
  });
  for (auto& result : results) CHECK_THROWS_WITH(result.get(), Contains("after iteration 5"));
  CHECK(place.iteration() == "5");
}

TEST_CASE("train together: a component that exchanges nothing is refused", "[unit][train]") {
  const Place place;
  auto [results, processes] = train_in(2, place, 9, [](Fake& fake, int) { fake.exchanges = false; });
  CHECK_THROWS_AS(results[0].get(), PluginError);
}

TEST_CASE("train together: weights that have come apart are found out and not saved", "[unit][train]") {
  const Place place;
  auto [results, processes] = train_in(2, place, 9, [](Fake& fake, int rank) { fake.drift = rank == 1 ? 1e-6F : 0; });
  CHECK_THROWS_WITH(results[0].get(), Contains("same weights"));
  CHECK_FALSE(fs::exists(place.checkpoint()));
}

TEST_CASE("train together: folders that are not shared are found out", "[unit][train]") {
  const Place place, other;
  train_in(1, place, 3, kNothing);
  auto [results, processes] = in_processes(2, [&](Process& process) {
    Fake fake;
    train(fake, options_in(process.group.rank() == 0 ? place : other, process.group, 9));
  });
  for (auto& result : results) CHECK_THROWS_WITH(result.get(), Contains("share the folder"));
  CHECK(place.iteration() == "3");
}
