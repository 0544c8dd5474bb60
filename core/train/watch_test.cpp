// SPDX-License-Identifier: Apache-2.0
#include "core/train/watch.h"

#include <catch2/catch.hpp>

#include <cmath>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

/// Whether it stops within `count` iterations of this loss.
bool stops(Watch& watch, double loss, int count) {
  for (int i = 0; i < count; ++i) {
    if (watch.loss(loss)) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("watch: a loss that falls, stays or wavers is no trouble", "[unit][train]") {
  Watch watch({});
  for (int i = 0; i < 2000; ++i) {
    const double loss = 0.1 + 50 * std::exp(-i / 100.0) + 0.09 * std::sin(i * 1.7);
    REQUIRE_FALSE(watch.loss(loss));
  }
  CHECK_FALSE(watch.doubtful());
}

TEST_CASE("watch: a loss that stays ten times higher stops the training", "[unit][train]") {
  Watch watch({});
  REQUIRE_FALSE(stops(watch, 0.1, 200));
  CHECK_FALSE(stops(watch, 1.05, 60));
  CHECK(watch.doubtful());
  CHECK(stops(watch, 1.05, 300));
}

TEST_CASE("watch: one batch alone stops nothing, whatever its loss", "[unit][train]") {
  Watch watch({});
  REQUIRE_FALSE(stops(watch, 0.1, 200));
  CHECK_FALSE(stops(watch, 1e30, 1));
  CHECK_FALSE(stops(watch, 0.1, 500));
  CHECK(stops(watch, 1e30, 60));
}

TEST_CASE("watch: one that diverges at once is seen by the loss that it began with", "[unit][train]") {
  Watch watch({});
  REQUIRE_FALSE(stops(watch, 0.886, 1));
  CHECK(stops(watch, 12420, 60));
  Watch lucky({});
  REQUIRE_FALSE(stops(lucky, 0.02, 1));
  CHECK_FALSE(stops(lucky, 1, 500));
  Watch off({0, 0});
  CHECK_FALSE(stops(off, 0.886, 1));
  CHECK_FALSE(stops(off, 12420, 500));
}

TEST_CASE("watch: the reason tells both losses", "[unit][train]") {
  Watch watch({5, 0});
  stops(watch, 0.125, 100);
  std::optional<std::string> reason;
  while (!reason) reason = watch.loss(2);
  CHECK_THAT(*reason, Contains("5 times") && Contains("0.125"));
}

TEST_CASE("watch: losses that may be negative have no factor to grow by", "[unit][train]") {
  Watch watch({});
  CHECK_FALSE(stops(watch, -0.1, 100));
  CHECK_FALSE(stops(watch, 1000, 1000));
}

TEST_CASE("watch: it can be switched off", "[unit][train]") {
  Watch watch({0, 0});
  CHECK_FALSE(stops(watch, 0.1, 200));
  CHECK_FALSE(stops(watch, 1e9, 1000));
  CHECK_FALSE(watch.doubtful());
  for (int i = 0; i < 5; ++i) CHECK_FALSE(watch.spread({{"a", 0.0}}));
}

TEST_CASE("watch: two samples in a row without variance stop the training", "[unit][train]") {
  Watch watch({});
  CHECK_FALSE(watch.spread({{"latents", 0.9}, {"contrast", 1e-5}}));
  CHECK_FALSE(watch.spread({{"latents", 0.9}, {"contrast", 0.5}}));
  CHECK_FALSE(watch.spread({{"latents", 1e-5}, {"contrast", 0.5}}));
  const auto reason = watch.spread({{"latents", 0.9}, {"contrast", std::nan("")}});
  REQUIRE(reason);
  CHECK_THAT(*reason, Contains("contrast"));
}

TEST_CASE("watch: with its state it goes on as if it had not been interrupted", "[unit][train]") {
  Watch whole({});
  Watch first({});
  for (Watch* each : {&whole, &first}) {
    stops(*each, 0.1, 100);
    stops(*each, 1.3, 20);
  }
  Watch second({}, first.state());
  int iterations = 0;
  while (!whole.loss(1.3)) {
    ++iterations;
    REQUIRE_FALSE(second.loss(1.3));
  }
  CHECK(second.loss(1.3));
  CHECK(iterations > 0);
}
