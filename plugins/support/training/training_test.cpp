// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/training.h"

#include "plugins/support/error.h"
#include "plugins/support/test_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

namespace medgen::support {
namespace {

using Catch::Matchers::Contains;
using testing::Restored;
using testing::saved_by;
using testing::Tensors;
using testing::TestHost;

constexpr std::uint32_t kAll = MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_EMA | MEDGEN_TRAIN_OPTIMIZER;

/// The working folder for temporary files: that of the system may lie in memory.
struct DiskFolder {
  DiskFolder() { ::setenv("TMPDIR", std::filesystem::current_path().c_str(), 1); }

  ~DiskFolder() { before.empty() ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", before.c_str(), 1); }

  std::string before = std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "";
};

/// One vector of weights; the loss is their product with given slopes, so that the slopes are the gradient.
struct Line : nn::Module {
  explicit Line(std::int64_t count = 3) : weight(add_parameter("weight", {count}, nn::Init::ones())) {}

  at::Tensor loss(const at::Tensor& slopes) const { return (weight * slopes).sum(); }

  const at::Tensor& weight;
};

at::Tensor numbers(std::initializer_list<float> values) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<float>());
  return tensor;
}

struct Fixture {
  Line line;
  TrainedModules modules;

  explicit Fixture(const TrainingOptions& options = {}) : modules({{"", &line, true, nullptr}}, options, 1) {}

  at::Tensor weight() const { return line.weight.detach().clone(); }

  Tensors saved(std::uint32_t what) {
    return saved_by([&](const sdk::StateSink& to) { modules.save(what, to); });
  }
};

}  // namespace

TEST_CASE("training: an evaluation sees the averages and leaves everything as it was", "[unit]") {
  TrainingOptions options;
  options.ema = 0.5;
  Fixture f(options), untouched(options);
  const auto learn = [](Fixture& each) {
    each.modules.backward(each.line.loss(numbers({1, -2, 3})));
    each.modules.apply(0.1);
  };
  for (Fixture* each : {&f, &untouched}) learn(*each);
  const at::Tensor before = f.weight();
  for (int i = 0; i < 2; ++i) {  // several batches
    f.modules.evaluate([&] {
      CHECK((f.weight() - (before + numbers({0.05F, -0.05F, 0.05F}))).abs().max().item<float>() < 1e-6F);
      CHECK_FALSE(f.line.training());
      const at::Tensor loss = f.line.loss(numbers({9, 9, 9}));
      CHECK_FALSE(loss.requires_grad());
      f.modules.backward(loss);
    });
  }
  CHECK(f.saved(MEDGEN_TRAIN_WEIGHTS).at("weights/weight").equal(before));
  CHECK(f.line.training());
  CHECK(at::equal(f.weight(), before));
  CHECK_THROWS(f.modules.apply(0.1));  // nothing was gathered
  for (Fixture* each : {&f, &untouched}) learn(*each);
  CHECK(at::equal(f.weight(), untouched.weight()));
}

TEST_CASE("training: the first step of Adam moves every weight by the learning rate, against its slope", "[unit]") {
  Fixture f;
  f.modules.backward(f.line.loss(numbers({3, -0.01F, 200})));
  CHECK(f.modules.apply(0.1) == Approx(200.0225).epsilon(1e-5));
  CHECK(f.weight().allclose(numbers({0.9F, 1.1F, 0.9F}), 1e-4));
}

TEST_CASE("training: weight decay shrinks by the learning rate and does not pass through the moments", "[unit]") {
  Fixture f({.weight_decay = 0.5});
  f.modules.backward(f.line.loss(numbers({0, 0, 1})));
  f.modules.apply(0.1);
  CHECK(f.weight().allclose(numbers({0.95F, 0.95F, 0.85F}), 1e-4));
  CHECK(f.saved(MEDGEN_TRAIN_OPTIMIZER).at("optimizer/weight/m").allclose(numbers({0, 0, 0.1F})));
}

TEST_CASE("training: batches that are gathered count as their mean", "[unit]") {
  Fixture once({.clip_norm = 1});
  Fixture gathered({.clip_norm = 1});
  once.modules.backward(once.line.loss(numbers({0.3F, 0.2F, 0.1F})));
  for (int i = 0; i < 5; ++i) gathered.modules.backward(gathered.line.loss(numbers({0.3F, 0.2F, 0.1F})));
  CHECK(gathered.modules.apply(0.1) == Approx(once.modules.apply(0.1)));
  const auto moments = [](Fixture& f) { return f.saved(MEDGEN_TRAIN_OPTIMIZER).at("optimizer/weight/m"); };
  CHECK(moments(gathered).allclose(moments(once), 1e-5));
}

TEST_CASE("training: gradients are clipped to the norm, all by one factor", "[unit]") {
  Fixture f({.clip_norm = 1});
  f.modules.backward(f.line.loss(numbers({3, 4, 0})));
  CHECK(f.modules.apply(0.1) == Approx(5));
  CHECK(f.saved(MEDGEN_TRAIN_OPTIMIZER).at("optimizer/weight/m").allclose(numbers({0.06F, 0.08F, 0}), 1e-5));
}

TEST_CASE("training: the average follows the weights at its decay", "[unit]") {
  Fixture f({.ema = 0.75});
  f.modules.backward(f.line.loss(numbers({1, 1, 1})));
  f.modules.apply(0.1);
  CHECK(f.saved(MEDGEN_TRAIN_EMA).at("ema/weight").allclose(0.75 * at::full({3}, 1.0) + 0.25 * f.weight(), 1e-6));
  CHECK(Fixture().saved(MEDGEN_TRAIN_EMA).empty());
}

TEST_CASE("training: steps over many weights are Adam's, for any number of threads", "[unit]") {
  constexpr std::int64_t kCount = 100003;
  const TrainingOptions options{.weight_decay = 0.1, .ema = 0.9, .clip_norm = 3};
  const at::Tensor slopes = at::randn({2, kCount});
  const auto trained = [&](int threads) {
    at::set_num_threads(threads);
    Line line{kCount};
    TrainedModules modules({{"", &line, true, nullptr}}, options, 1);
    for (std::int64_t i = 0; i < 2; ++i) {
      modules.backward(line.loss(slopes.select(0, i)));
      modules.apply(0.01);
    }
    return std::pair(line.weight.detach().clone(), saved_by([&](const sdk::StateSink& to) { modules.save(kAll, to); }));
  };
  const int before = at::get_num_threads();
  const auto [weight, saved] = trained(1);
  CHECK(trained(2).first.equal(weight));
  at::set_num_threads(before);

  at::Tensor value = at::full({kCount}, 1.0, at::kDouble), m = value.mul(0), v = value.mul(0), average = value.clone();
  for (int i = 0; i < 2; ++i) {
    at::Tensor g = slopes.select(0, i).to(at::kDouble);
    g = g * (3 / g.norm());
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    value = value * (1 - 0.001) -
            0.01 * (m / (1 - std::pow(0.9, i + 1))) / ((v / (1 - std::pow(0.999, i + 1))).sqrt() + 1e-8);
    average = 0.9 * average + 0.1 * value;
  }
  CHECK(weight.to(at::kDouble).allclose(value, 1e-5, 1e-6));
  CHECK(saved.at("ema/weight").to(at::kDouble).allclose(average, 1e-5, 1e-6));
}

TEST_CASE("training: moments and averages on disk give the same weights, to the bit", "[unit]") {
  const DiskFolder folder;
  Fixture in_memory({.ema = 0.9, .clip_norm = 1}), on_disk({.ema = 0.9, .clip_norm = 1, .state_on_disk = true});
  for (Fixture* each : {&in_memory, &on_disk}) {
    for (const float slope : {1.0F, -3.0F, 0.5F}) {
      each->modules.backward(each->line.loss(numbers({slope, 2, -slope})));
      each->modules.apply(0.1);
    }
    each->modules.evaluate([] {});
  }
  const Tensors want = in_memory.saved(kAll);
  const Tensors got = on_disk.saved(kAll);
  REQUIRE(got.size() == want.size());
  for (const auto& [name, tensor] : want) CHECK(got.at(name).equal(tensor));
}

TEST_CASE("training: a folder in memory is no disk", "[unit]") {
  if (!std::filesystem::is_directory("/dev/shm")) return;
  CHECK_THROWS_WITH(KeptFile("/dev/shm"), Contains("'/dev/shm' is a file system in memory; set TMPDIR"));
  CHECK_THROWS_WITH(KeptFile("/nonexistent"), Contains("no scratch file can be made in '/nonexistent'"));
}

TEST_CASE("training: a kept tensor lies in a file with the weight's order of axes", "[unit]") {
  at::manual_seed(7);
  const auto file = std::make_shared<KeptFile>(std::filesystem::current_path());
  const at::Tensor weight = at::randn({3, 4, 5}).permute({2, 0, 1});
  KeptTensor first(weight, file), second(weight, file);
  CHECK(first.get().equal(at::zeros({5, 3, 4})));
  const at::Tensor changed = first.get().fill_(3), other = at::randn({5, 3, 4});
  CHECK(changed.strides() == weight.strides());
  first.put(changed);
  second.put(other);
  CHECK(first.get().equal(changed));
  CHECK(second.get().equal(other));
  CHECK_FALSE(KeptTensor().defined());
  CHECK_FALSE(KeptTensor().get().defined());
}

TEST_CASE("training: a trainer goes on from what another one saved", "[unit]") {
  const TrainingOptions options{.weight_decay = 0.01, .ema = 0.9};
  const auto step = [](Fixture& f, float slope) {
    f.modules.backward(f.line.loss(numbers({slope, -slope, 2})));
    f.modules.apply(0.1);
  };
  Fixture whole(options);
  step(whole, 1);
  const Restored checkpoint(whole.saved(kAll));
  step(whole, 5);
  const bool on_disk = GENERATE(false, true);
  const DiskFolder folder;
  Fixture resumed({.weight_decay = 0.01, .ema = 0.9, .state_on_disk = on_disk});
  resumed.modules.load(kAll, checkpoint.source());
  step(resumed, 5);
  const Tensors want = whole.saved(kAll);
  const Tensors got = resumed.saved(kAll);
  REQUIRE(got.size() == want.size());
  for (const auto& [name, tensor] : want) CHECK(got.at(name).equal(tensor));
}

TEST_CASE("training: a checkpoint that lacks a tensor or has another shape is refused", "[unit]") {
  Fixture f({.ema = 0.5});
  const Tensors whole = f.saved(kAll);
  const std::string name =
      GENERATE("weights/weight", "ema/weight", "optimizer/weight/m", "optimizer/weight/v", "optimizer/step");
  Tensors less = whole;
  less.erase(name);
  CHECK_THROWS_WITH(f.modules.load(kAll, Restored(less).source()), Contains("'" + name + "' is missing"));
  if (name == "optimizer/step") return;
  Tensors other = whole;
  other[name] = at::full({1}, 2.0);
  CHECK_THROWS_WITH(f.modules.load(kAll, Restored(other).source()), Contains(name + " has the wrong shape"));
}

TEST_CASE("training: gradients that are not finite stop it and change nothing", "[unit]") {
  const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity());
  Fixture f({.ema = 0.5});
  f.modules.backward(f.line.loss(numbers({1, bad, 1})));
  CHECK_THROWS_WITH(f.modules.apply(0.1), Contains("not finite"));
  CHECK(f.weight().equal(at::full({3}, 1.0)));
  CHECK(f.saved(kAll).at("optimizer/step").item<float>() == 0);
}

TEST_CASE("training: whether gradients are finite can be asked before a step, and a scaled loss is not to blame",
          "[unit]") {
  Fixture f;
  CHECK_NOTHROW(f.modules.require_sound_gradients());  // none yet: `apply` tells
  f.modules.backward(f.line.loss(numbers({1, 1, 1})));
  CHECK_NOTHROW(f.modules.require_sound_gradients());
  f.modules.backward(f.line.loss(numbers({1, std::numeric_limits<float>::quiet_NaN(), 1})));
  CHECK_THROWS_WITH(f.modules.require_sound_gradients(), Contains("not finite"));
  Fixture scaled({.compute = at::kHalf});
  scaled.modules.backward(scaled.line.loss(numbers({1, std::numeric_limits<float>::quiet_NaN(), 1})));
  CHECK_NOTHROW(scaled.modules.require_sound_gradients());
}

TEST_CASE("training: a step without gradients is refused", "[unit]") {
  Fixture f;
  CHECK_THROWS_WITH(f.modules.apply(0.1), Contains("no gradients"));
}

TEST_CASE("training: frozen or missing networks and weights in half precision are refused", "[unit]") {
  Line line;
  const auto modules = [](nn::Module& module, bool trained) {
    return TrainedModules({{"net", &module, trained, nullptr}}, {}, 1);
  };
  CHECK_THROWS_WITH(modules(line, false), Contains("net: a frozen network needs weights"));
  line.initialize(1);
  CHECK_THROWS_WITH(modules(line, false), Contains("nothing to train"));
  at::Tensor& weight = line.parameters().front().parameter->value;
  weight = weight.to(at::kBFloat16);
  CHECK_THROWS_WITH(modules(line, true), Contains("float32"));
}

TEST_CASE("training: a member copies an earlier one only while it has no weights", "[unit]") {
  Line from;
  Line fresh;
  Line kept;
  from.initialize(1);
  kept.initialize(1);
  {
    const at::NoGradGuard no_grad;
    from.parameters().front().parameter->value.fill_(5);
  }
  const TrainedModules modules(
      {{"", &from, false, nullptr}, {"fresh", &fresh, true, &from}, {"kept", &kept, true, &from}}, {}, 1);
  CHECK(fresh.weight.detach().equal(from.weight));
  CHECK(kept.weight.detach().equal(at::full({3}, 1.0)));
}

}  // namespace medgen::support
