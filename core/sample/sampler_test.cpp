// SPDX-License-Identifier: Apache-2.0
#include "core/sample/sampler.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

using namespace medgen;

namespace {

/// What the five kinds share.
class Fake : public virtual Component {
 public:
  std::string id() const override { return "fake"; }

  std::string describe() const override { return "{}"; }

  TensorMap call(std::string_view, const CallContext&, const Inputs&) override { return {}; }

  const void* extension(const char*) const override { return nullptr; }

  medgen_obj_t* object() const override { return nullptr; }
};

/// x_t = (1 - t) x0 + t eps in equal steps, with fresh noise in every update.
class FakeSchedule : public Schedule {
 public:
  explicit FakeSchedule(int steps) {
    for (int i = 0; i < steps; ++i) times_.push_back(1.0 - static_cast<double>(i) / steps);
  }

  const std::vector<double>& timesteps() const override { return times_; }

  Update update(std::size_t) const override {
    Update update{};
    update.flags = MEDGEN_UPDATE_NOISE;
    update.x = 0.5;
    update.m = 0.5;
    update.noise_scale = 0.1;
    update.keep_x = update.keep_m = update.keep_x0 = -1;
    return update;
  }

  NoiseLevel level(double t) const override {
    NoiseLevel level{};
    level.alpha = 1 - t;
    level.sigma = t;
    level.x0_m = 1;
    return level;
  }

 private:
  std::vector<double> times_;
};

class FakeScheduler : public Scheduler, public Fake {
 public:
  std::unique_ptr<Schedule> begin(const ScheduleRequest& request) override {
    return std::make_unique<FakeSchedule>(request.steps);
  }

  NoiseLevel level(double t) override { return FakeSchedule(1).level(t); }

  double training_time(const ScheduleRequest&, double u) override { return u; }
};

/// 0.9 x + 0.1 t + the mean of the condition of the same sample. Remembers the batches it was given.
class FakeDenoiser : public Denoiser, public Fake {
 public:
  void prepare(const CallContext&, const TensorMap&) override {}

  Tensor predict(const CallContext&, const TensorMap& in) override {
    const Tensor& x = in.at("x");
    const Tensor& bias = in.at("bias");
    seen.push_back(x.clone());
    Tensor out(DType::F32, x.shape());
    const std::size_t per_sample = out.values<float>().size() / static_cast<std::size_t>(x.shape()[0]);
    for (std::size_t i = 0; i < out.values<float>().size(); ++i) {
      const std::size_t row = i / per_sample;
      out.values<float>()[i] =
          0.9F * x.values<float>()[i] + 0.1F * in.at("timesteps").values<float>()[row] + bias.values<float>()[row];
    }
    return out;
  }

  std::vector<Tensor> seen;
};

/// The mean of each sample's mask, or 0 without conditions.
class FakeConditioner : public Conditioner, public Fake {
 public:
  bool has_encode() const override { return true; }

  bool has_step() const override { return false; }

  TensorMap encode(const CallContext& context, const Inputs& in) override {
    const Tensor& mask = in.tensors.at("mask");
    Tensor bias = Tensor::zeros(DType::F32, {mask.shape()[0], 1});
    const std::size_t per_sample = static_cast<std::size_t>(mask.size() / mask.shape()[0]);
    for (std::size_t i = 0; i < mask.values<float>().size(); ++i) {
      bias.values<float>()[i / per_sample] += mask.values<float>()[i] / static_cast<float>(per_sample);
    }
    if ((context.flags & MEDGEN_CALL_UNCONDITIONAL) != 0) bias = Tensor::zeros(DType::F32, bias.shape());
    return {{"bias", bias}};
  }

  TensorMap step(const CallContext&, const TensorMap&) override { return {}; }
};

/// Windows of 4 along the first axis, each after the first with the slices of the one before as known part.
class FakeCover : public Cover {
 public:
  FakeCover(const CoverRequest& request, std::uint32_t rule) : rule_(rule) {
    Shape shape = request.shape;
    shape.insert(shape.begin(), request.channels);
    values_ = Tensor::zeros(DType::F32, shape);
  }

  std::optional<Window> next(const CallContext&) override {
    const Shape& shape = values_.shape();
    if (start_ >= shape[1]) return std::nullopt;
    Window window;
    window.extent = {std::min<std::int64_t>(4, shape[1]), shape[2]};
    window.origin = {std::min(start_, shape[1] - window.extent[0]), 0};
    window.order = {0, 1};
    if (rule_ != MEDGEN_KNOWN_NONE && start_ > 0) lend_known(window);
    return window;
  }

  void accept(const CallContext&, const Window& window, const Tensor& result) override {
    paste(values_, result, window.origin);
    start_ = window.origin[0] + window.extent[0];
  }

  Tensor finish(const CallContext&) override { return values_; }

 private:
  /// The window begins one slice earlier, and that slice is known.
  void lend_known(Window& window) const {
    window.origin[0] = std::min(start_ - 1, values_.shape()[1] - window.extent[0]);
    window.known_rule = rule_;
    window.known = crop(values_, window.origin, window.extent);
    window.known_mask = Tensor::zeros(DType::U8, window.extent);
    const auto known = static_cast<std::size_t>((start_ - window.origin[0]) * window.extent[1]);
    std::fill_n(window.known_mask.values<std::uint8_t>().begin(), known, 1);
  }

  Tensor values_;
  std::uint32_t rule_;
  std::int64_t start_ = 0;
};

class FakePropagator : public Propagator, public Fake {
 public:
  explicit FakePropagator(std::uint32_t rule) : rule_(rule) {}

  std::unique_ptr<Cover> begin(const CallContext&, const CoverRequest& request) override {
    return std::make_unique<FakeCover>(request, rule_);
  }

  std::uint64_t count(const CoverRequest&) const override { return 0; }

 private:
  std::uint32_t rule_;
};

struct Setup {
  explicit Setup(std::uint32_t rule = MEDGEN_KNOWN_NONE) {
    parts = {std::make_shared<FakeScheduler>(),
             denoiser,
             {std::make_shared<FakeConditioner>()},
             std::make_shared<FakePropagator>(rule)};
  }

  std::shared_ptr<FakeDenoiser> denoiser = std::make_shared<FakeDenoiser>();
  SamplerParts parts;
};

/// Samples [first, first + batch) of one set, whose masks differ.
SampleRequest request(std::uint32_t first, int batch) {
  SampleRequest request;
  request.latent = {2, 9, 3};
  request.batch = batch;
  request.seed = 5;
  request.first_sample = first;
  request.steps = 3;
  Tensor mask(DType::F32, {batch, 1, 18, 6});
  for (std::size_t i = 0; i < mask.values<float>().size(); ++i) {
    mask.values<float>()[i] = std::sin(static_cast<float>(i + first * 108));
  }
  request.inputs["mask"] = mask;
  return request;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.values<float>(), b.values<float>());
}

}  // namespace

TEST_CASE("a sample has the same bits in a batch of eight and alone", "[unit][sample]") {
  for (const std::uint32_t rule : {MEDGEN_KNOWN_NONE, MEDGEN_KNOWN_CLEAN, MEDGEN_KNOWN_RENOISE}) {
    for (const double guidance : {1.0, 2.5}) {
      Setup setup(rule);
      SampleRequest all = request(10, 8);
      all.guidance = guidance;
      const Tensor together = sample_latents(setup.parts, all);
      REQUIRE(together.shape() == Shape{8, 2, 9, 3});
      for (int row = 0; row < 8; ++row) {
        SampleRequest one = request(10 + static_cast<std::uint32_t>(row), 1);
        one.guidance = guidance;
        REQUIRE(same(sample_latents(setup.parts, one), together.rows(row, 1)));
      }
      CHECK_FALSE(same(together.rows(0, 1), together.rows(1, 1)));
    }
  }
}

TEST_CASE("guidance gives the same bits in one call as in two", "[unit][sample]") {
  Setup setup;
  SampleRequest two = request(0, 3);
  two.guidance = 4;
  SampleRequest one = two;
  one.batched_guidance = true;
  const Tensor expected = sample_latents(setup.parts, two);
  setup.denoiser->seen.clear();
  CHECK(same(sample_latents(setup.parts, one), expected));
  CHECK(setup.denoiser->seen.front().shape()[0] == 6);
  two.guidance = 1;
  CHECK_FALSE(same(sample_latents(setup.parts, two), expected));
}

TEST_CASE("known slices are in every evaluation of a window and come out unchanged", "[unit][sample]") {
  Setup setup(MEDGEN_KNOWN_CLEAN);
  const Tensor result = sample_latents(setup.parts, request(0, 1));
  const auto& seen = setup.denoiser->seen;
  REQUIRE(seen.size() == 9);  // windows at 0, 3 and 5, of three evaluations
  for (const std::size_t window : {1, 2}) {
    const std::int64_t origin = window == 1 ? 3 : 5;
    const std::int64_t known = window == 1 ? 1 : 2;
    for (std::size_t step = 0; step < 3; ++step) {
      const Tensor part = crop(seen[3 * window + step], {0, 0}, {known, 3});
      CHECK(same(part, crop(result, {origin, 0}, {known, 3})));
    }
  }
}

TEST_CASE("known slices at the noise of the evaluation differ from step to step and end clean", "[unit][sample]") {
  Setup setup(MEDGEN_KNOWN_RENOISE);
  const Tensor result = sample_latents(setup.parts, request(0, 1));
  const auto& seen = setup.denoiser->seen;
  REQUIRE(seen.size() == 9);
  Setup first_only(MEDGEN_KNOWN_NONE);
  CHECK(same(crop(result, {0, 0}, {4, 3}), crop(sample_latents(first_only.parts, request(0, 1)), {0, 0}, {4, 3})));
  CHECK_FALSE(same(crop(seen[3], {0, 0}, {1, 3}), crop(seen[4], {0, 0}, {1, 3})));
  CHECK_FALSE(same(crop(seen[5], {0, 0}, {1, 3}), crop(result, {3, 0}, {1, 3})));
}

TEST_CASE("what overflows in the loop itself is an error at once, with the guidance that did it", "[unit][sample]") {
  Setup setup;
  SampleRequest all = request(0, 1);
  all.guidance = 1e300;
  CHECK_THROWS_AS(sample_latents(setup.parts, all), PluginError);
  setup.denoiser->seen.clear();
  CHECK_THROWS_WITH(sample_latents(setup.parts, all),
                    Catch::Contains("overflows at evaluation 0") && Catch::Contains("guidance 1e+300"));
  CHECK(setup.denoiser->seen.size() == 2);
}

TEST_CASE("cancelling ends the sampling at the next evaluation", "[unit][sample]") {
  for (const std::uint64_t stop : {1, 4, 8}) {
    Setup setup;
    SampleHooks hooks;
    hooks.progress = [stop](std::uint64_t done, std::uint64_t) { return done < stop; };
    CHECK_THROWS_AS(sample_latents(setup.parts, request(0, 2), hooks), Cancelled);
    CHECK(setup.denoiser->seen.size() == stop);
  }
}

TEST_CASE("progress counts every evaluation and previews show each", "[unit][sample]") {
  Setup setup;
  std::vector<std::uint64_t> counted;
  std::size_t previews = 0;
  SampleHooks hooks;
  hooks.progress = [&](std::uint64_t done, std::uint64_t) {
    counted.push_back(done);
    return true;
  };
  hooks.preview = [&](std::uint64_t, const Tensor& x0) { previews += x0.shape()[0] == 2 ? 1 : 0; };
  sample_latents(setup.parts, request(0, 2), hooks);
  CHECK(counted == std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(previews == 9);
}

TEST_CASE("a known part of another shape than its window is a plugin error", "[unit][sample]") {
  class BadCover : public FakeCover {
   public:
    using FakeCover::FakeCover;

    std::optional<Window> next(const CallContext& context) override {
      auto window = FakeCover::next(context);
      if (!window) return window;
      window->known_rule = MEDGEN_KNOWN_CLEAN;
      window->known = Tensor::zeros(DType::F32, {2, 1, 1});
      window->known_mask = Tensor::zeros(DType::U8, {1, 1});
      return window;
    }
  };

  class BadPropagator : public FakePropagator {
   public:
    using FakePropagator::FakePropagator;

    std::unique_ptr<Cover> begin(const CallContext&, const CoverRequest& request) override {
      return std::make_unique<BadCover>(request, MEDGEN_KNOWN_NONE);
    }
  };

  Setup setup;
  setup.parts.propagator = std::make_shared<BadPropagator>(MEDGEN_KNOWN_NONE);
  CHECK_THROWS_AS(sample_latents(setup.parts, request(0, 1)), PluginError);
}
