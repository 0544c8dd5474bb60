// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/condition_cache.h"

#include "plugins/support/nn/attention.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>

namespace medgen::nn {
namespace {

/// Doubles conditions, and counts how often.
struct Doubling {
  ConditionCache cache;
  std::vector<at::Tensor> weights = {at::zeros({1})};
  int made = 0;

  explicit Doubling(std::size_t most_bytes = 1 << 20) : cache(most_bytes) {}

  at::Tensor of(const at::Tensor& condition) {
    const auto make = [&] { return ++made, ConditionCache::Results{condition.mul(2)}; };
    return cache.get(condition, weights, make).front();
  }
};

}  // namespace

TEST_CASE("condition cache: the same values are found again, in whatever memory", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Doubling doubling;
  const at::Tensor a = at::randn({2, 3}), b = at::randn({2, 3});
  for (const at::Tensor& condition : {a, b, a.clone(), b}) CHECK(doubling.of(condition).equal(condition.mul(2)));
  CHECK(doubling.made == 2);
}

TEST_CASE("condition cache: other values, shapes and types are made anew", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Doubling doubling;
  const at::Tensor a = at::zeros({2, 3});
  for (const at::Tensor& condition : {a, at::zeros({3, 2}), a.to(at::kBFloat16)}) {
    const at::Tensor result = doubling.of(condition);
    CHECK((result.sizes() == condition.sizes() && result.scalar_type() == condition.scalar_type()));
  }
  CHECK(doubling.made == 3);
  a.add_(1);  // in the memory of a condition that is kept
  CHECK(doubling.of(a).equal(a.mul(2)));
  CHECK(doubling.made == 4);
}

TEST_CASE("condition cache: what is kept at most is told", "[unit][nn]") {
  CHECK(ConditionCache::bytes_kept(10, 1000) == 10 * ConditionCache::kMost);
  CHECK(ConditionCache::bytes_kept(400, 1000) == 3 * 400);
  CHECK(ConditionCache::bytes_kept(1001, 1000) == 1001);  // the latest is always kept
  CHECK(ConditionCache::bytes_kept(0, 1000) == 0);
}

TEST_CASE("condition cache: a weight that changed, or was replaced, forgets everything", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Doubling doubling;
  const at::Tensor a = at::randn({3});
  doubling.of(a);
  doubling.weights.front().add_(1);
  doubling.of(a);
  CHECK(doubling.made == 2);
  doubling.weights.front() = doubling.weights.front().clone();
  doubling.of(a);
  doubling.of(a);
  CHECK(doubling.made == 3);
}

TEST_CASE("condition cache: the latest is always kept, the others within limits", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Doubling none(0), few;
  const at::Tensor a = at::randn({3}), b = at::randn({3}), c = at::randn({3});
  for (const at::Tensor& condition : {a, a, b, c, c}) none.of(condition);
  CHECK(none.made <= 3);
  none.of(a);
  CHECK(none.made == 4);
  for (int i = 0; i < 10; ++i) few.of(a.add(i));
  few.of(a);
  CHECK(few.made == 11);
}

TEST_CASE("condition cache: what could not be made, or was made with gradients, leaves nothing behind", "[unit][nn]") {
  Doubling doubling;
  const at::Tensor a = at::randn({3});
  doubling.of(a);
  doubling.of(a);
  CHECK(doubling.made == 2);
  const at::NoGradGuard no_grad;
  const auto fail = []() -> ConditionCache::Results { throw std::runtime_error("no memory"); };
  CHECK_THROWS_AS(doubling.cache.get(a, doubling.weights, fail), std::runtime_error);
  CHECK(doubling.of(a).equal(a.mul(2)));
  CHECK(doubling.made == 3);
}

TEST_CASE("cross-attention: remembering a context changes no bit", "[unit][nn]") {
  at::manual_seed(5);
  const bool half = GENERATE(false, true);
  const at::ScalarType type = half ? at::kBFloat16 : at::kFloat;
  const auto made = [&] {
    auto attention = std::make_unique<CrossAttention>(AttentionOptions{.channels = 8, .heads = 2}, 5);
    attention->initialize(3);
    if (half) attention->set_compute_dtype(type);
    return attention;
  };
  const auto attention = made();
  const at::Tensor tokens = at::randn({1, 30, 8}).to(type);
  const at::Tensor first = at::randn({1, 7, 5}).to(type), second = at::randn({1, 7, 5}).to(type);
  for (const at::Tensor& context : {first, second, first, second}) {
    const at::NoGradGuard no_grad;
    CHECK(attention->forward(tokens, context).equal(made()->forward(tokens, context)));
  }
}

}  // namespace medgen::nn
