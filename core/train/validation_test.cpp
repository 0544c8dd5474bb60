// SPDX-License-Identifier: Apache-2.0
// What the loop does between its iterations: validation, samples, the best state, going wrong.
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/train/loop.h"
#include "core/train/test_learner.h"
#include "core/weights/safetensors.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

using namespace medgen;
using namespace medgen::testing;
using Catch::Matchers::Contains;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

LoopOptions options_of(const Place& place, std::uint64_t iterations) {
  LoopOptions options = place.options(iterations);
  options.validate_every = 2;
  return options;
}

/// Losses of the validations after iteration 2, 4, ...: a function of the learner, as the real one.
LoopHooks validating(const Fake& fake, std::vector<double> losses) {
  LoopHooks hooks;
  hooks.validate = [&fake, losses]() -> Scalars { return {{"loss", losses.at(fake.rates_in_all() / 2 - 1)}}; };
  return hooks;
}

}  // namespace

TEST_CASE("validation: the learner ends with the best weights, and the last ones stay to go on from", "[unit][train]") {
  const Place place;
  LoopOptions options = options_of(place, 8);
  options.keep_best = GENERATE(true, false);
  Fake fake;
  const LoopResult result = train_loop(fake, batch_of, options, {}, validating(fake, {5, 3, 4, 6}));
  REQUIRE(result.state.best);
  CHECK(result.state.best->loss == 3);
  CHECK(result.state.best->iteration == 4);
  CHECK(result.kept == (options.keep_best ? 4 : 8));
  Fake four;
  const Place other;
  train_loop(four, batch_of, other.options(4), {});
  CHECK((fake == four) == options.keep_best);
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "8");
  CHECK(SafetensorsFile(place.file("best.safetensors")).metadata().at("medgen.iteration") == "4");
}

TEST_CASE("validation: it is logged beside the training", "[unit][train]") {
  const Place place;
  Fake fake;
  train_loop(fake, batch_of, options_of(place, 4), {}, validating(fake, {5, 3}));
  const auto log = place.log();
  REQUIRE(log.size() == 6);
  CHECK(log[2]["iteration"] == 2);
  CHECK(log[2]["validation_loss"] == 5);
  CHECK(log[5]["validation_loss"] == 3);
}

TEST_CASE("validation: there is one at the end", "[unit][train]") {
  const Place place;
  Fake fake;
  int asked = 0;
  LoopHooks hooks;
  hooks.validate = [&]() -> Scalars { return {{"loss", static_cast<double>(++asked)}}; };
  train_loop(fake, batch_of, options_of(place, 5), {}, hooks);
  CHECK(asked == 3);  // 2, 4, 5
  train_loop(fake, batch_of, options_of(place, 5), {}, hooks);
  CHECK(asked == 3);
}

TEST_CASE("validation: patience ends the training, once and for all", "[unit][train]") {
  const Place place;
  LoopOptions options = options_of(place, 100);
  options.patience = 2;
  Fake fake;
  const LoopHooks hooks = validating(fake, {5, 3, 4, 3, 1});
  const LoopResult result = train_loop(fake, batch_of, options, {}, hooks);
  CHECK(result.ended_early);
  CHECK(result.state.iteration == 8);
  Fake again;
  CHECK(train_loop(again, batch_of, options, {}, hooks).state.iteration == 8);
  CHECK(again.steps.empty());
}

TEST_CASE("validation: interrupted anywhere, best, patience and weights are those of the whole run", "[unit][train]") {
  const std::uint64_t stop = GENERATE(1, 2, 3, 4, 5, 6, 7, 9);
  const std::uint64_t every = GENERATE(1, 3, 0);
  const std::vector<double> losses = {5, 3, 4, 3.5, 1, 2, 2, 2, 0};
  const auto options = [&](const Place& place) {
    LoopOptions all = options_of(place, 40);
    all.patience = 3;
    all.checkpoint_every = every;
    all.keep_best = true;
    return all;
  };
  const Place whole_place, place;
  Fake whole;
  const LoopResult expected = train_loop(whole, batch_of, options(whole_place), {}, validating(whole, losses));
  CHECK(expected.state.iteration == 16);
  Fake first;
  const auto killed = [&](std::uint64_t batch) {
    if (batch == stop) throw std::runtime_error("killed");
    return batch_of(batch);
  };
  CHECK_THROWS(train_loop(first, killed, options(place), {}, validating(first, losses)));
  Fake second;
  const LoopResult result = train_loop(second, batch_of, options(place), {}, validating(second, losses));
  CHECK(second == whole);
  CHECK(result.state.iteration == expected.state.iteration);
  CHECK(result.kept == 10);
  CHECK(sha256_file(place.file("best.safetensors")).size() == 64);
}

TEST_CASE("validation: one that is cancelled is asked for again", "[unit][train]") {
  const Place place;
  Fake first;
  int asked = 0;
  LoopHooks hooks;
  hooks.validate = [&]() -> Scalars {
    if (++asked == 2) throw Cancelled("cancelled");
    return {{"loss", 1.0 / asked}};
  };
  CHECK_THROWS_WITH(train_loop(first, batch_of, options_of(place, 6), {}, hooks), Contains("iteration 4"));
  Fake second;
  train_loop(second, batch_of, options_of(place, 6), {}, hooks);
  CHECK(asked == 4);
  CHECK(second.steps.front() == 4);
}

TEST_CASE("validation: a loss that is not finite stops the training, and the last checkpoint stays", "[unit][train]") {
  const Place place;
  LoopOptions options = options_of(place, 8);
  options.checkpoint_every = 1;
  Fake fake;
  CHECK_THROWS_WITH(train_loop(fake, batch_of, options, {}, validating(fake, {5, kNan, 3, 3})),
                    Contains("held-out cases is nan") && Contains("checkpoint.safetensors"));
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "3");
  CHECK(SafetensorsFile(place.file("best.safetensors")).metadata().at("medgen.iteration") == "2");
}

TEST_CASE("samples: those without variance stop the training", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(100);
  options.sample_every = 3;
  options.checkpoint_every = 1;
  LoopHooks hooks;
  hooks.sample = [](std::uint64_t iteration) -> TrainingSample {
    return {"", {{"latents", iteration < 7 ? 1.0 : 0.0}}};
  };
  Fake fake;
  CHECK_THROWS_WITH(train_loop(fake, batch_of, options, {}, hooks), Contains("iteration 12") && Contains("latents"));
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "11");
}

TEST_CASE("train: a batch that is not finite names what it is made of", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.accumulate = 4;
  LoopHooks hooks;
  hooks.describe = [](std::uint64_t batch) { return fmt::format("case {}", batch); };
  Fake fake;
  fake.bad_batch = 6;
  CHECK_THROWS_WITH(train_loop(fake, batch_of, options, {}, hooks),
                    Contains("case 6") && Contains("no checkpoint yet"));
}

TEST_CASE("train: weights that are not finite do not take the place of the last good ones", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.checkpoint_every = 2;
  Fake fake;
  const auto batch = [&](std::uint64_t number) {
    if (number == 5) fake.moment = std::numeric_limits<float>::infinity();
    return batch_of(number);
  };
  CHECK_THROWS_WITH(train_loop(fake, batch, options, {}), Contains("not finite after iteration 6"));
  CHECK(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration") == "4");
}

namespace {

LoopOptions hardly_learning(const Place& place, std::uint64_t iterations) {
  LoopOptions options = place.options(iterations);
  options.checkpoint_every = 5;
  options.learning_rate = 1e-9;
  return options;
}

/// Fifteen times the loss from 200 on.
TensorMap rising_batch(std::uint64_t number) {
  return {{"x", Tensor::scalar(number < 200 ? 0.1F : 1.5F)}};
}

}  // namespace

TEST_CASE("train: when the loss explodes, the state before it rose comes back", "[unit][train]") {
  const Place place;
  Fake fake;
  CHECK_THROWS_WITH(train_loop(fake, rising_batch, hardly_learning(place, 10000), {}),
                    Contains("more than 10 times") && Contains("0.1"));
  const auto kept = std::stoul(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration"));
  CHECK(kept >= 200);
  CHECK(kept <= 210);  // the mean is over fifty iterations
  CHECK_FALSE(std::filesystem::exists(place.file("good.safetensors")));
}

TEST_CASE("train: when a rising loss ends in NaN, the state before it rose comes back", "[unit][train]") {
  const Place place;
  Fake fake;
  fake.bad_batch = 222;  // before the mean over fifty iterations is ten times as high
  CHECK_THROWS_WITH(train_loop(fake, rising_batch, hardly_learning(place, 10000), {}), Contains("the loss is nan"));
  CHECK(std::stoul(SafetensorsFile(place.checkpoint()).metadata().at("medgen.iteration")) <= 210);
  CHECK_FALSE(std::filesystem::exists(place.file("good.safetensors")));
}

TEST_CASE("train: where gradients are scaled a loss that overflows leaves a step out", "[unit][train]") {
  const Place place;
  LoopOptions options = place.options(10);
  options.scales_gradients = true;
  Fake fake;
  fake.bad_batch = 4;
  train_loop(fake, batch_of, options, {});
  CHECK(fake.steps.size() == 10);
  Fake hopeless;
  const Place other;
  options = other.options(1000);
  options.scales_gradients = true;
  const auto batch = [](std::uint64_t) -> TensorMap {
    return {{"x", Tensor::scalar(std::numeric_limits<float>::infinity())}};
  };
  CHECK_THROWS_WITH(train_loop(hopeless, batch, options, {}), Contains("the loss is"));
}

TEST_CASE("validation: a best state that another continuation has written is not taken for this one's",
          "[unit][train]") {
  const Place place;
  LoopOptions options = options_of(place, 8);
  options.keep_best = true;
  Fake fake;
  const LoopHooks hooks = validating(fake, {5, 1, 4, 3});
  CHECK(train_loop(fake, batch_of, options, {}, hooks).kept == 4);
  Fake stray;
  LoopState later;
  later.iteration = 6;
  save_checkpoint(place.file("best.safetensors"), stray, later, options.fingerprint);
  Fake again;
  std::string said;
  RunObserver observer;
  observer.log = [&](LogLevel, std::string_view text) { said += text; };
  CHECK(train_loop(again, batch_of, options, observer, hooks).kept == 8);
  CHECK_THAT(said, Contains("is not of the best iteration, 4"));
}

TEST_CASE("train: killed while the loss rises, it goes on", "[unit][train]") {
  const Place place;
  LoopOptions options = hardly_learning(place, 300);
  options.watch.explode = 20;
  const auto batch = [](bool whole) {
    return [whole](std::uint64_t number) -> TensorMap {
      if (!whole && number == 228) throw std::runtime_error("killed");
      return {{"x", Tensor::scalar(number < 200 || number > 240 ? 0.1F : 1.5F)}};
    };
  };
  Fake first;
  CHECK_THROWS(train_loop(first, batch(false), options, {}));
  CHECK(std::filesystem::exists(place.file("good.safetensors")));
  Fake second;
  train_loop(second, batch(true), options, {});
  CHECK(second.steps.front() == 225);
  CHECK_FALSE(std::filesystem::exists(place.file("good.safetensors")));
}
