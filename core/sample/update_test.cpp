// SPDX-License-Identifier: Apache-2.0
#include "core/sample/update.h"

#include "core/base/error.h"
#include "core/random/noise.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

using namespace medgen;

namespace {

const Shape kShape{2, 3, 4, 5};

Tensor normal(const Shape& shape, const std::string& purpose) {
  Tensor tensor(DType::F32, shape);
  fill_noise(tensor, {11, 0, purpose, 0});
  return tensor;
}

/// An update that does nothing and stores nothing.
Update no_update() {
  Update update{};
  update.keep_x = update.keep_m = update.keep_x0 = -1;
  return update;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.values<float>(), b.values<float>());
}

}  // namespace

TEST_CASE("an update is the sum that its coefficients say, rounded once", "[unit][sample]") {
  const Tensor x = normal(kShape, "x"), m = normal(kShape, "m"), noise = normal(kShape, "noise");
  History history;
  history[1] = normal(kShape, "old");
  Update u = no_update();
  u.x = 0.75;
  u.m = -0.3;
  u.x0 = 1.1;
  u.x0_x = 1.25;
  u.x0_m = -0.6;
  u.clamp_low = -0.5;
  u.clamp_high = 0.5;
  u.history[1] = 0.125;
  u.noise_scale = 0.2;
  u.flags = MEDGEN_UPDATE_NOISE;
  for (const bool clamped : {false, true}) {
    if (clamped) u.flags |= MEDGEN_UPDATE_CLAMP_X0;
    const Tensor next = apply_update(u, x, m, noise, history);
    for (std::size_t i = 0; i < next.values<float>().size(); ++i) {
      const double xi = x.values<float>()[i], mi = m.values<float>()[i];
      double x0 = 1.25 * xi - 0.6 * mi;
      if (clamped) x0 = std::min(0.5, std::max(-0.5, x0));
      const double sum =
          0.75 * xi - 0.3 * mi + 1.1 * x0 + 0.125 * history[1].values<float>()[i] + 0.2 * noise.values<float>()[i];
      REQUIRE(next.values<float>()[i] == Approx(sum).margin(1e-6));
    }
  }
}

TEST_CASE("a learned range interpolates between two log variances", "[unit][sample]") {
  const Shape twice{2, 6, 4, 5};
  const Tensor x = normal(kShape, "x"), m = normal(twice, "m"), noise = normal(kShape, "noise");
  Update u = no_update();
  u.m = 1;
  u.noise_scale = 0.5;
  u.log_variance_min = -3;
  u.log_variance_max = -1;
  u.flags = MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_LEARNED_RANGE;
  History history;
  const Tensor next = apply_update(u, x, m, noise, history);
  const std::size_t sample = 60;
  for (std::size_t i = 0; i < 2 * sample; ++i) {
    const std::size_t at = i / sample * 2 * sample + i % sample;
    const double f = (m.values<float>()[at + sample] + 1.0) / 2.0;
    const double deviation = std::exp(0.5 * (f * -1.0 + (1.0 - f) * -3.0));
    REQUIRE(next.values<float>()[i] ==
            Approx(m.values<float>()[at] + 0.5 * deviation * noise.values<float>()[i]).margin(1e-6));
  }
}

TEST_CASE("what an update keeps is what a later one uses", "[unit][sample]") {
  const Tensor x = normal(kShape, "x"), m = normal(kShape, "m");
  Update keep = no_update();
  keep.x0_x = 2;
  keep.x0_m = -1;
  keep.keep_x = 0;
  keep.keep_m = 1;
  keep.keep_x0 = 2;
  History history;
  apply_update(keep, x, m, {}, history);
  CHECK(same(history[0], x));
  CHECK(same(history[1], m));
  NoiseLevel clean{};
  clean.x0_x = 2;
  clean.x0_m = -1;
  CHECK(same(history[2], clean_estimate(clean, x, m)));
  for (const std::size_t slot : {0, 1, 2}) {
    Update use = no_update();
    use.history[slot] = 1;
    CHECK(same(apply_update(use, x, m, {}, history), history[slot]));
  }
}

TEST_CASE("a sample of a batch is updated as it is alone", "[unit][sample]") {
  const Tensor x = normal(kShape, "x"), m = normal(kShape, "m"), noise = normal(kShape, "noise");
  Update u = no_update();
  u.x = 0.3;
  u.m = 0.7;
  u.noise_scale = 0.1;
  u.flags = MEDGEN_UPDATE_NOISE;
  History history;
  const Tensor both = apply_update(u, x, m, noise, history);
  for (const int row : {0, 1}) {
    History own;
    CHECK(same(apply_update(u, x.rows(row, 1), m.rows(row, 1), noise.rows(row, 1), own), both.rows(row, 1)));
  }
}

TEST_CASE("the clean sample comes back from its noisy one and the target", "[unit][sample]") {
  const Tensor x0 = normal(kShape, "x0"), eps = normal(kShape, "eps");
  // Velocity of rectified flow: x = (1 - t) x0 + t eps, m = x0 - eps, x0 = x + t m.
  const double t = 0.375;
  NoiseLevel level{};
  level.alpha = 1 - t;
  level.sigma = t;
  level.target_x0 = 1;
  level.target_eps = -1;
  level.x0_x = 1;
  level.x0_m = t;
  const Tensor back = clean_estimate(level, add_noise(level, x0, eps), training_target(level, x0, eps));
  for (std::size_t i = 0; i < 120; ++i) {
    REQUIRE(back.values<float>()[i] == Approx(x0.values<float>()[i]).margin(1e-6));
  }
}

TEST_CASE("guidance is a line through both answers and leaves a learned variance alone", "[unit][sample]") {
  const Shape twice{2, 6, 4, 5};
  const Tensor x = normal(kShape, "x"), c = normal(twice, "c"), u = normal(twice, "u"), noise = normal(kShape, "noise");
  Update take = no_update();
  take.m = 1;
  take.keep_m = 0;
  take.noise_scale = 1;
  take.log_variance_min = -2;
  take.flags = MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_LEARNED_RANGE;
  History history;
  const Tensor next = apply_update(take, x, {c, u, 3}, noise, history);
  const std::size_t sample = 60;
  for (std::size_t i = 0; i < 2 * sample; ++i) {
    const std::size_t at = i / sample * 2 * sample + i % sample;
    const double ci = c.values<float>()[at], ui = u.values<float>()[at];
    REQUIRE(history[0].values<float>()[i] == Approx(ui + 3 * (ci - ui)).margin(1e-6));
    const double f = (c.values<float>()[at + sample] + 1.0) / 2.0;
    const double eps = std::exp(-(1 - f)) * noise.values<float>()[i];
    REQUIRE(next.values<float>()[i] == Approx(ui + 3 * (ci - ui) + eps).margin(1e-5));
  }
  NoiseLevel level{};
  level.x0_m = 1;
  CHECK(same(clean_estimate(level, x, {c, u, 3}), history[0]));
}

TEST_CASE("what was kept does not change when the next sample is written to", "[unit][sample]") {
  Tensor x = normal(kShape, "x");
  const Tensor m = normal(kShape, "m"), before = x.clone();
  Update keep = no_update();
  keep.x = 1;
  keep.keep_x = 0;
  History history;
  x = apply_update(keep, x, m, {}, history);
  std::ranges::fill(x.values<float>(), 7.0F);
  CHECK(same(history[0], before));
}

TEST_CASE("updates that cannot be computed are plugin errors", "[unit][sample]") {
  const Tensor x = normal(kShape, "x");
  History history;
  Update u = no_update();
  for (const Shape& wrong : {Shape{1, 3, 4, 5}, Shape{2, 4, 4, 5}, Shape{2, 3, 4, 6}, Shape{2, 3, 4}, Shape{}}) {
    CHECK_THROWS_AS(apply_update(u, x, Tensor::zeros(DType::F32, wrong), {}, history), PluginError);
    CHECK_THROWS_AS(add_noise({}, x, Tensor::zeros(DType::F32, wrong)), PluginError);
    CHECK_THROWS_AS(apply_update(u, x, {x, Tensor::zeros(DType::F32, wrong), 2}, {}, history), PluginError);
  }
  u.flags = MEDGEN_UPDATE_LEARNED_RANGE;
  CHECK_THROWS_AS(apply_update(u, x, x, {}, history), PluginError);
  u.flags = MEDGEN_UPDATE_NOISE;
  CHECK_THROWS_AS(apply_update(u, x, x, {}, history), PluginError);
  u = no_update();
  u.history[3] = 1;
  CHECK_THROWS_AS(apply_update(u, x, x, {}, history), PluginError);
  u = no_update();
  u.keep_m = MEDGEN_HISTORY;
  CHECK_THROWS_AS(apply_update(u, x, x, {}, history), PluginError);
}
