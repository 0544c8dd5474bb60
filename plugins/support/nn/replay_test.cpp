// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/replay.h"
#include "plugins/support/nn/condition_cache.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <stdexcept>

using namespace medgen;
using nn::Replay;
using nn::Tensors;

namespace {

/// What the graph below does when it is replayed, and what was done with it.
struct Device {
  std::function<void()> work;
  int begun = 0, ended = 0, replayed = 0;
  bool refuses = false;
};

Device device;

/// Stands in for a device's graphs, so that the CPU is a device that records.
class FakeGraph : public at::GraphImplInterface {
 public:
  explicit FakeGraph(const at::GraphImplArgs&) {}

  void capture_begin(at::MempoolId_t, at::GraphCaptureMode) override {
    ++device.begun;
    TORCH_CHECK(!device.refuses, "not today");
  }

  void capture_end() override { ++device.ended; }

  void instantiate() override {}

  void replay() override {
    ++device.replayed;
    device.work();
  }

  void reset() override {}

  at::MempoolId_t pool() const override { return {0, 0}; }

  void enable_debug_mode() override {}

  void debug_dump(const std::string&) override {}
};

/// 2 a + b; when it is recorded, the device learns to do it with the same tensors.
struct Sum {
  int called = 0;

  Tensors operator()(const Tensors& in) {
    ++called;
    const at::Tensor result = compute(in);
    if (nn::is_recording()) device.work = [in, result] { result.copy_(compute(in)); };
    return {result};
  }

  static at::Tensor compute(const Tensors& in) { return in[1].defined() ? in[0] * 2 + in[1] : in[0] * 2; }
};

}  // namespace

namespace at {
REGISTER_GRAPH_IMPL(CPU, FakeGraph)
}  // namespace at

TEST_CASE("replay: the first call is as it is, the second records, the others are replayed, with the same results",
          "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  at::manual_seed(1);
  Replay replay;
  Sum sum;
  for (int call = 1; call <= 5; ++call) {
    const Tensors in = {at::randn({3, 4}), at::randn({3, 4})};
    REQUIRE(replay.run(in, std::ref(sum)).front().equal(in[0] * 2 + in[1]));
    CHECK(sum.called == std::min(call, 2));
    CHECK(device.replayed == std::max(call - 1, 0));
  }
  CHECK(device.begun == 1);
  CHECK(device.ended == 1);
  CHECK_FALSE(nn::is_recording());
}

TEST_CASE("replay: results stay the caller's when the next call is made", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  Replay replay;
  Sum sum;
  const Tensors one = {at::ones({2}), at::ones({2})};
  for (int call = 0; call < 2; ++call) replay.run(one, std::ref(sum));
  const at::Tensor kept = replay.run(one, std::ref(sum)).front();
  replay.run({at::ones({2}) * 5, at::ones({2})}, std::ref(sum));
  CHECK(kept.equal(at::ones({2}) * 3));
}

TEST_CASE("replay: other shapes, types and missing inputs are recorded on their own", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  Replay replay;
  Sum sum;
  const std::vector<Tensors> kinds = {{at::ones({2}), at::ones({2})},
                                      {at::ones({3}), at::ones({3})},
                                      {at::ones({2}), at::Tensor()},
                                      {at::ones({2}, at::kDouble), at::ones({2}, at::kDouble)}};
  for (const Tensors& in : kinds) {
    for (int call = 0; call < 3; ++call) CHECK(replay.run(in, std::ref(sum)).front().equal(Sum::compute(in)));
  }
  CHECK(device.begun == 4);
  SECTION("and only so many are kept: the one that was used least lately goes") {
    replay.run({at::ones({5}), at::ones({5})}, std::ref(sum));
    replay.run(kinds[0], std::ref(sum));
    CHECK(sum.called == 4 * 2 + 2);
  }
}

TEST_CASE("replay: with gradients, and after it was stopped, the function is called as it is", "[unit][nn]") {
  device = {};
  Replay replay;
  Sum sum;
  const Tensors in = {at::ones({2}).requires_grad_(), at::ones({2})};
  const at::Tensor result = [&] {
    replay.run(in, std::ref(sum));
    return replay.run(in, std::ref(sum)).front();
  }();
  CHECK(result.requires_grad());
  const at::NoGradGuard no_grad;
  for (int call = 0; call < 3; ++call) replay.run(in, std::ref(sum));
  replay.stop();
  const int before = device.replayed;
  for (int call = 0; call < 3; ++call) replay.run(in, std::ref(sum));
  CHECK(device.replayed == before);
  CHECK(before > 0);
}

TEST_CASE("replay: what cannot be recorded is called as it is", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  device.refuses = true;
  Replay replay;
  Sum sum;
  for (int call = 0; call < 3; ++call)
    CHECK(replay.run({at::ones({2}), at::Tensor()}, std::ref(sum)).front().equal(at::ones({2}) * 2));
  CHECK(device.begun == 1);
  CHECK(device.replayed == 0);
}

TEST_CASE("replay: an error of the function is the caller's, and ends the recording", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  Replay replay;
  const auto fails = [](const Tensors&) -> Tensors { throw std::invalid_argument("no"); };
  for (int call = 0; call < 2; ++call) CHECK_THROWS_AS(replay.run({at::ones({2})}, fails), std::invalid_argument);
  CHECK(device.ended == device.begun);
  CHECK_FALSE(nn::is_recording());
}

TEST_CASE("condition cache: what is made while a device records is not kept", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  device = {};
  nn::ConditionCache cache(1 << 20);
  Replay replay;
  int made = 0;
  const auto function = [&](const Tensors& in) {
    const at::Tensor made_of_it = cache
                                      .get(in[0], {},
                                           [&] {
                                             ++made;
                                             return nn::ConditionCache::Results{in[0] * 3};
                                           })
                                      .front();
    device.work = [] {};
    return Tensors{made_of_it};
  };
  const Tensors in = {at::ones({2})};
  replay.run(in, function);
  replay.run(in, function);
  CHECK(made == 2);
  CHECK(cache.get(in[0], {}, [&] { return nn::ConditionCache::Results{at::ones({2}) * 7}; })
            .front()
            .equal(at::ones({2}) * 3));
}
