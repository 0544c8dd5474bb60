// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/kept_weights.h"

#include "plugins/support/nn/winograd.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>

#include <thread>

using namespace medgen;

namespace {

constexpr std::int64_t kNumbers = 1000;

/// How often what is kept was made.
class Made {
 public:
  explicit Made(std::int64_t most_bytes) : kept(most_bytes) {}

  at::Tensor of(const at::Tensor& weight, std::int64_t numbers = kNumbers) {
    return kept.get(weight, numbers, [&](const at::Tensor& array) {
      ++times;
      array.fill_(weight.sum().item<float>());
    });
  }

  nn::KeptWeights kept;
  int times = 0;
};

const std::int64_t kRoomForOne = nn::KeptWeights::bytes_of(kNumbers);

}  // namespace

TEST_CASE("kept weights: made once", "[unit][nn]") {
  Made made(2 * kRoomForOne);
  at::Tensor one = at::ones({3}), other = at::ones({5});
  CHECK(made.of(one)[kNumbers - 1].item<float>() == 3);
  CHECK(made.of(other)[0].item<float>() == 5);
  CHECK(made.of(one)[0].item<float>() == 3);
  CHECK(made.times == 2);
  SECTION("anew when the weight changed") {
    one.mul_(2);
    CHECK(made.of(one)[0].item<float>() == 6);
    CHECK(made.of(one).numel() == kNumbers);
    CHECK(made.times == 3);
  }
  SECTION("anew for another number") {
    CHECK(made.of(one, 2 * kNumbers).numel() == 2 * kNumbers);
    CHECK(made.times == 3);
  }
  SECTION("what is read stays, though the weight changed") {
    const at::Tensor read = made.of(one);
    one.mul_(2);
    made.of(one);
    CHECK(read[0].item<float>() == 3);
  }
}

TEST_CASE("kept weights: no more than there is room for", "[unit][nn]") {
  Made made(2 * kRoomForOne);
  const at::Tensor one = at::ones({1}), other = at::ones({2});
  made.of(one);
  made.of(other);
  CHECK_FALSE(made.of(at::ones({3})).defined());
  CHECK(made.of(one).defined());
  CHECK(made.times == 2);
  SECTION("nothing without room") {
    Made none(kRoomForOne - 1);
    CHECK_FALSE(none.of(one).defined());
    CHECK(none.times == 0);
  }
  SECTION("weights that are gone make room") {
    Made few(kRoomForOne);
    few.of(at::ones({4}));
    CHECK(few.of(one)[0].item<float>() == 1);
    CHECK(few.kept.bytes() == kRoomForOne);
    CHECK_FALSE(few.of(other).defined());
  }
  SECTION("what could not be made takes none") {
    Made few(kRoomForOne);
    CHECK_THROWS_AS(few.kept.get(one, kNumbers, [](const at::Tensor&) { throw std::bad_alloc(); }), std::bad_alloc);
    CHECK(few.of(one).defined());
  }
}

TEST_CASE("kept weights: a budget leaves a quarter", "[unit][nn]") {
  CHECK(nn::KeptWeights::most_bytes(4000) == 1000);
  CHECK(nn::KeptWeights::most_bytes(0) == nn::KeptWeights::most_bytes(std::uint64_t{1} << 40));
  CHECK(nn::KeptWeights::most_bytes(std::uint64_t{1} << 63) == nn::KeptWeights::most_bytes(0));
}

TEST_CASE("kept weights: a thread uses the latest, until it is left", "[unit][nn]") {
  nn::KeptWeights outer(0), inner(0);
  CHECK(nn::KeptWeights::in_use() == nullptr);
  {
    const nn::KeptWeights::Use one(outer);
    {
      const nn::KeptWeights::Use other(inner);
      CHECK(nn::KeptWeights::in_use() == &inner);
    }
    CHECK(nn::KeptWeights::in_use() == &outer);
    const nn::KeptWeights* elsewhere = &outer;
    std::jthread([&] { elsewhere = nn::KeptWeights::in_use(); }).join();
    CHECK(elsewhere == nullptr);
  }
  CHECK(nn::KeptWeights::in_use() == nullptr);
}

TEST_CASE("kept weights: convolutions have the same bits with them", "[unit][nn]") {
  const std::int64_t rows = GENERATE(16, 32);  // planes, cubes
  const at::Tensor x = at::randn({1, 16, 4, rows, rows}).contiguous(at::MemoryFormat::ChannelsLast3d);
  at::Tensor weight = at::randn({16, 16, 3, 3, 3});
  const auto convolved = [&] {
    const at::Tensor y = at::zeros({1, 16, 4, rows, rows}).contiguous(at::MemoryFormat::ChannelsLast3d);
    nn::winograd_conv(x, weight, {}, 1, y);
    return y;
  };
  if (!nn::prefers_float(at::kFloat)) return;
  const at::Tensor before = convolved();
  nn::KeptWeights kept(nn::KeptWeights::most_bytes(0));
  const nn::KeptWeights::Use use(kept);
  CHECK(convolved().equal(before));
  CHECK(convolved().equal(before));
  weight.mul_(2);
  CHECK(convolved().equal(before.mul(2)));
}
