// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/loss_scale.h"

#include <ATen/ops/full.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

using Catch::Matchers::Contains;
using medgen::support::LossScale;

TEST_CASE("loss scale: not active it is one, and gradients that are not finite are not its fault", "[unit]") {
  LossScale scale(false);
  const at::Tensor loss = at::full({1}, 3.0);
  CHECK(scale.scaled(loss).is_same(loss));
  for (int i = 0; i < 5000; ++i) scale.passed();
  CHECK(scale.factor() == 1);
  CHECK_FALSE(scale.reduce());
}

TEST_CASE("loss scale: it starts at 256, grows by half after 2000 good steps and is halved by a bad one", "[unit]") {
  LossScale scale(true);
  CHECK(scale.scaled(at::full({1}, 3.0)).item<double>() == 768);
  for (int i = 0; i < 1999; ++i) scale.passed();
  CHECK(scale.factor() == 256);
  scale.passed();
  CHECK(scale.factor() == 384);
  for (int i = 0; i < 1999; ++i) scale.passed();
  CHECK(scale.reduce());
  CHECK(scale.factor() == 192);
  scale.passed();  // counts anew
  CHECK(scale.factor() == 192);
}

TEST_CASE("loss scale: reducing ends, for then something else is wrong", "[unit]") {
  LossScale scale(true);
  int halvings = 0;
  while (scale.reduce()) ++halvings;
  CHECK(halvings == 22);
}

TEST_CASE("loss scale: a checkpoint brings it back, and a damaged one is refused", "[unit]") {
  LossScale scale(true);
  for (int i = 0; i < 2700; ++i) scale.passed();
  LossScale resumed(true);
  resumed.restore(scale.state());
  for (LossScale* each : {&scale, &resumed}) {
    for (int i = 0; i < 1300; ++i) each->passed();
  }
  CHECK(resumed.factor() == scale.factor());
  CHECK(scale.factor() == 576);
  CHECK_THROWS_WITH(resumed.restore(at::full({3}, 1.0)), Contains("damaged"));
  CHECK_THROWS_WITH(resumed.restore(at::full({2}, 0.0)), Contains("damaged"));
}
