// SPDX-License-Identifier: Apache-2.0
#include "core/train/loop.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/events/record.h"
#include "core/run/folder_lock.h"
#include "core/train/test_learner.h"
#include "core/weights/safetensors.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

using namespace medgen;
using namespace medgen::testing;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

std::vector<Json> Place::log() const {
  std::istringstream text(read_file(file("log.jsonl"), 1 << 20));
  std::vector<Json> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(Json::parse(line));
  return lines;
}

namespace {

/// The event without its time, which comes first: a key and eight bytes.
std::string timeless(const std::string& event) {
  return event.substr(9);
}

/// Cancels when `count` iterations are done.
struct CancelAfter {
  CancelToken token;
  RunObserver observer;

  explicit CancelAfter(std::uint64_t count) {
    observer.cancel = &token;
    observer.progress = [this, count](const Progress& progress) {
      if (progress.done == count) token.cancel();
    };
  }
};

}  // namespace

TEST_CASE("train: a training that is cancelled and resumed ends where the whole one does", "[unit][train]") {
  const std::uint64_t stop = GENERATE(1, 5, 9);
  const Place whole_place;
  const Place place;
  auto options = [&](const Place& where) {
    LoopOptions all = where.options(10);
    all.schedule = LearningRate::Cosine;
    all.warmup = 3;
    all.accumulate = 2;
    return all;
  };
  Fake whole;
  train_loop(whole, batch_of, options(whole_place), {});

  Fake first;
  CancelAfter cancel(stop);
  CHECK_THROWS_AS(train_loop(first, batch_of, options(place), cancel.observer), Cancelled);
  CHECK(first.rates.size() == stop);
  Fake second;
  train_loop(second, batch_of, options(place), {});
  CHECK(second.rates.size() == 10 - stop);
  CHECK(second.steps.front() == 2 * stop);
  CHECK(second == whole);
}

TEST_CASE("train: a training that is over is not gone on with", "[unit][train]") {
  const Place place;
  Fake first;
  train_loop(first, batch_of, place.options(3), {});
  Fake again;
  train_loop(again, batch_of, place.options(3), {});
  CHECK(again.steps.empty());
  CHECK(again == first);
}

TEST_CASE("train: a training that was killed goes on from its last checkpoint", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.checkpoint_every = 4;
  Fake first;
  const auto killed = [](std::uint64_t batch) {
    if (batch == 6) throw std::runtime_error("killed");
    return batch_of(batch);
  };
  CHECK_THROWS_AS(train_loop(first, killed, options, {}), std::runtime_error);
  Fake second;
  train_loop(second, batch_of, options, {});
  CHECK(second.steps.front() == 4);
  CHECK(second.rates.size() == 6);
}

TEST_CASE("train: what a killed training logged after its last checkpoint is logged once", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(8);
  options.checkpoint_every = GENERATE(3, 0);  // 0: killed before there was any
  Fake fake;
  fake.bad_batch = 5;
  CHECK_THROWS_AS(train_loop(fake, batch_of, options, {}), RuntimeError);
  REQUIRE(place.log().size() == 6);
  CHECK_THAT(place.log().back()["stopped"].get<std::string>(), Contains("the loss is nan"));
  std::ofstream(place.path / "training" / "log.jsonl", std::ios::app) << R"({"iteration": 6, "los)";
  Fake again;
  train_loop(again, batch_of, options, {});
  const auto log = place.log();
  REQUIRE(log.size() == 8);
  for (std::size_t i = 0; i < log.size(); ++i) CHECK(log[i]["iteration"] == i + 1);
}

TEST_CASE("train: two trainings do not write to one folder at the same time", "[unit][train]") {
  const Place place;
  fs::create_directories(place.path / "training");
  const FolderLock lock(place.path / "training");
  Fake fake;
  CHECK_THROWS_WITH(train_loop(fake, batch_of, place.options(2), {}), Contains("another run is writing"));
  CHECK(fake.steps.empty());
}

TEST_CASE("train: a checkpoint holds weights, their average and the optimiser, and how far it is", "[unit][train]") {
  const Place place;
  Fake fake;
  train_loop(fake, batch_of, place.options(4), {});
  const SafetensorsFile file(place.checkpoint());
  CHECK(file.tensors().size() == 4);
  CHECK(file.tensors().at("ema/w").values<float>()[0] == fake.average);
  CHECK(file.metadata().at("medgen.iteration") == "4");
  CHECK(file.metadata().at("medgen.fingerprint") == "one");
}

TEST_CASE("train: a loss that is not finite stops before the step, and the last checkpoint stays", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.checkpoint_every = 2;
  Fake fake;
  fake.bad_batch = 5;
  CHECK_THROWS_AS(train_loop(fake, batch_of, options, {}), RuntimeError);
  CHECK(fake.rates.size() == 5);
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "4");
  Fake again;
  again.bad_batch = 5;
  CHECK_THROWS_WITH(train_loop(again, batch_of, options, {}),
                    Contains("nan") && Contains("iteration 5") && Contains("checkpoint.safetensors"));
}

TEST_CASE("train: what the learner refuses is told with the cases of the batch", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.accumulate = 2;
  Fake fake;
  fake.refused_batch = 5;
  LoopHooks hooks;
  hooks.describe = [](std::uint64_t batch) { return fmt::format("cases a, {}", batch); };
  CHECK_THROWS_AS(train_loop(fake, batch_of, options, {}, hooks), PluginError);
  fake.refused_batch = 7;
  CHECK_THROWS_WITH(train_loop(fake, batch_of, options, {}, hooks),
                    "at iteration 3 (cases a, 7): label 7 is none of the classes");
  const auto refused = [](std::uint64_t) -> TensorMap { throw PluginError("names its case itself"); };
  CHECK_THROWS_WITH(train_loop(fake, refused, options, {}, hooks), "names its case itself");
}

TEST_CASE("train: one bad batch among those gathered is enough", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.accumulate = 4;
  Fake fake;
  fake.bad_batch = 2;
  CHECK_THROWS_AS(train_loop(fake, batch_of, options, {}), RuntimeError);
  CHECK(fake.rates.empty());
  CHECK_FALSE(fs::exists(place.checkpoint()));
}

TEST_CASE("train: the checkpoint of another training is refused and kept", "[unit][train]") {
  const Place place;
  Fake fake;
  train_loop(fake, batch_of, place.options(2), {});
  const std::string before = sha256_file(place.checkpoint());
  LoopOptions other = place.options(4);
  other.fingerprint = "two";
  CHECK_THROWS_AS(train_loop(fake, batch_of, other, {}), DataError);
  CHECK_THROWS_WITH(train_loop(fake, batch_of, other, {}), Contains("another training (other data, model"));
  CHECK(sha256_file(place.checkpoint()) == before);
}

TEST_CASE("train: what another training has otherwise is told", "[unit][train]") {
  const Place place;
  Fake fake;
  LoopOptions options = place.options(2);
  options.fingerprint = R"({"step":{"learning_rate":0.1}})";
  train_loop(fake, batch_of, options, {});
  options.fingerprint = R"({"step":{"learning_rate":0.2}})";
  CHECK_THROWS_WITH(train_loop(fake, batch_of, options, {}),
                    Contains("another training (step.learning_rate is 0.2, was 0.1)"));
}

TEST_CASE("train: how far a checkpoint is can be told without what it holds", "[unit][train]") {
  const Place place;
  Fake fake;
  LoopOptions options = place.options(2);
  options.fingerprint = R"({"step":{"batch":2,"crop":[4]},"training":{"data":"a","seed":1}})";
  train_loop(fake, batch_of, options, {});
  const Json step = {{"crop", {4}}, {"batch", 2}};
  CHECK(iteration_of_checkpoint(place.checkpoint(), {{"/step", step}, {"/training/seed", 1}}) == 2);
  CHECK_THROWS_WITH(iteration_of_checkpoint(place.checkpoint(), {{"/training/seed", 2}}),
                    Contains("another training (training.seed is 2, was 1)"));
  CHECK_THROWS_WITH(iteration_of_checkpoint(place.checkpoint(), {{"/step", {{"batch", 2}}}}),
                    Contains("another training (step.crop"));
  CHECK_THROWS_AS(iteration_of_checkpoint(place.checkpoint(), {{"/training/precision", "fp32"}}), DataError);
}

TEST_CASE("train: a damaged checkpoint is refused and kept", "[unit][train]") {
  const Place place;
  fs::create_directories(place.checkpoint().parent_path());
  Fake fake;
  TensorMap tensors;
  fake.save(7, [&](const std::string& name, const Tensor& tensor) { tensors[name] = tensor.clone(); });
  SECTION("no safetensors") {
    std::ofstream(place.checkpoint()) << "garbage";
  }
  SECTION("it does not say how far") {
    const std::string iteration = GENERATE("", "-1", "3x", "99999999999999999999999");
    write_safetensors(place.checkpoint(), tensors,
                      {{"medgen.fingerprint", "one"}, {"medgen.iteration", iteration}, {"medgen.seconds", "1"}});
  }
  SECTION("it does not say for how long") {
    write_safetensors(place.checkpoint(), tensors, {{"medgen.fingerprint", "one"}, {"medgen.iteration", "1"}});
  }
  const std::string before = sha256_file(place.checkpoint());
  CHECK_THROWS_AS(train_loop(fake, batch_of, place.options(4), {}), DataError);
  CHECK(fake.steps.empty());
  CHECK(sha256_file(place.checkpoint()) == before);
}

TEST_CASE("train: cancelling leaves a checkpoint and says how to go on", "[unit][train]") {
  const Place place;
  Fake fake;
  CancelAfter cancel(2);
  CHECK_THROWS_WITH(train_loop(fake, batch_of, place.options(10), cancel.observer),
                    Contains("iteration 2") && Contains("again"));
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "2");
}

TEST_CASE("train: the minutes end it before the iterations do, and count over resumed runs", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(1'000'000'000);
  options.minutes = 1e-4;
  options.log_every = 0;
  options.schedule = LearningRate::Polynomial;
  Fake fake;
  train_loop(fake, batch_of, options, {});
  CHECK(!fake.rates.empty());
  CHECK(fake.rates.back() < fake.rates.front());
  Fake again;
  train_loop(again, batch_of, options, {});
  CHECK(again.steps.empty());
}

TEST_CASE("train: the log has one line of JSON every so often, with the mean of what was gathered", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(6);
  options.accumulate = 2;
  options.log_every = 3;
  Fake fake;
  train_loop(fake, batch_of, options, {});
  const std::vector<Json> log = place.log();
  REQUIRE(log.size() == 2);
  CHECK(log[0]["iteration"] == 3);
  CHECK(log[1]["iteration"] == 6);
  CHECK(log[1]["slope"].get<double>() == Approx((std::sin(11) + std::sin(12)) / 2).epsilon(1e-5));
  CHECK(log[1]["learning_rate"] == 0.1);
  CHECK(log[1]["iterations"] == 6);
}

TEST_CASE("train: TensorBoard is told what the log is", "[unit][train]") {
  const Place place;
  Fake fake;
  train_loop(fake, batch_of, place.options(3), {});
  const auto events = place.events();
  REQUIRE(events.size() == 1);
  for (const Json& line : place.log()) {
    std::map<std::string, double> values;
    for (const char* name : {"learning_rate", "loss", "slope"}) values[name] = line[name].get<double>();
    const std::string told = timeless(events::scalars_event(0, line["iteration"], values));
    CHECK_THAT(events[0], Contains(told));
  }
}

TEST_CASE("train: TensorBoard forgets what a killed training told after its last checkpoint", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(8);
  const auto [every, kept] = GENERATE(table<std::uint64_t, std::uint64_t>({{3, 3}, {0, 0}}));  // 0: before there is any
  options.checkpoint_every = every;
  Fake fake;
  fake.bad_batch = 5;
  CHECK_THROWS_AS(train_loop(fake, batch_of, options, {}), RuntimeError);
  Fake again;
  train_loop(again, batch_of, options, {});
  const auto events = place.events();
  REQUIRE(events.size() == 2);
  CHECK_THAT(events[1], Contains(timeless(events::restart_event(0, kept + 1))));
}

TEST_CASE("train: without a log TensorBoard is told nothing", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(3);
  options.log_every = 0;
  Fake fake;
  train_loop(fake, batch_of, options, {});
  CHECK_FALSE(fs::exists(place.path / "training" / "events"));
}

TEST_CASE("train: events that cannot be written stop the training before it begins", "[unit][train]") {
  const Place place;
  fs::create_directories(place.path / "training");
  std::ofstream(place.path / "training" / "events") << "a file";
  Fake fake;
  CHECK_THROWS_AS(train_loop(fake, batch_of, place.options(3), {}), RuntimeError);
  CHECK(fake.steps.empty());
}

TEST_CASE("train: the rate rises over the warm-up and then follows the schedule", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(8);
  options.warmup = 4;
  options.schedule = LearningRate::Polynomial;
  options.power = 1;
  Fake fake;
  train_loop(fake, batch_of, options, {});
  REQUIRE(fake.rates.size() == 8);
  for (std::size_t i = 0; i < 8; ++i) {
    const auto t = static_cast<double>(i);
    CHECK(fake.rates[i] == Approx(0.1 * std::min(1.0, (t + 1) / 4) * (1 - t / 8)));
  }
}

TEST_CASE("train: schedules start at one, never rise, and end at zero unless constant", "[unit][train]") {
  const auto schedule = GENERATE(LearningRate::Constant, LearningRate::Cosine, LearningRate::Polynomial);
  CHECK(schedule_factor(schedule, 2, 0) == 1);
  double last = 1;
  for (int i = 1; i <= 100; ++i) {
    const double factor = schedule_factor(schedule, 2, i / 100.0);
    CHECK(factor <= last);
    last = factor;
  }
  CHECK(last == Approx(schedule == LearningRate::Constant ? 1 : 0).margin(1e-12));
  CHECK(schedule_factor(LearningRate::Cosine, 2, 0.5) == Approx(0.5));
  CHECK(schedule_factor(LearningRate::Polynomial, 2, 0.5) == Approx(0.25));
}
