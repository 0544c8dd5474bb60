// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/wide_attention.h"

#include "plugins/support/nn/brgemm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <cmath>

using namespace medgen;

namespace {

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).norm().item<double>() / b.norm().item<double>();
}

/// In double, with all scores held.
at::Tensor expected(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads) {
  const auto head = [&](const at::Tensor& x) {
    return x.to(at::kDouble).unflatten(2, {heads, x.size(2) / heads}).transpose(1, 2);
  };
  const at::Tensor scores = at::matmul(head(q), head(k).transpose(2, 3)).div(std::sqrt(q.size(2) / heads));
  return at::matmul(at::softmax(scores, -1), head(v)).transpose(1, 2).flatten(2);
}

}  // namespace

TEST_CASE("wide attention: it is the softmax of all scores, for any lengths and heads", "[unit][nn]") {
  if (!nn::has_brgemm()) return;
  const at::NoGradGuard no_grad;
  const auto [queries, keys] = GENERATE(table<int64_t, int64_t>({{1, 1}, {64, 256}, {70, 300}, {513, 17}, {5, 700}}));
  const auto [channels, heads] = GENERATE(table<int64_t, int64_t>({{32, 1}, {64, 2}, {15, 3}}));
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const at::Tensor q = at::randn({2, queries, channels}).mul(3).to(type);
  const at::Tensor k = at::randn({2, keys, channels}).to(type), v = at::randn({2, keys, channels}).to(type);
  const at::Tensor y = nn::wide_attention(q, k, v, heads);
  CHECK(y.scalar_type() == type);
  CHECK(relative(y, expected(q, k, v, heads)) < (type == at::kFloat ? 2e-6 : 3e-3));
}

TEST_CASE("wide attention: large scores neither overflow nor vanish, wherever they come", "[unit][nn]") {
  if (!nn::has_brgemm()) return;
  const at::NoGradGuard no_grad;
  const int64_t largest = GENERATE(0, 299, 511);
  const at::Tensor q = at::randn({1, 3, 8}), k = at::randn({1, 512, 8}), v = at::randn({1, 512, 8});
  k.select(1, largest).copy_(q.select(1, 1).mul(300));
  CHECK(relative(nn::wide_attention(q, k, v, 1), expected(q, k, v, 1)) < 2e-5);
  CHECK(relative(nn::wide_attention(q, k, v, 1).select(1, 1), v.select(1, largest)) < 1e-6);
}

TEST_CASE("wide attention: a number that is none spoils its row alone", "[unit][nn]") {
  if (!nn::has_brgemm()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor q = at::randn({1, 70, 8}), k = at::randn({1, 300, 8}), v = at::randn({1, 300, 8});
  q[0][65][3] = NAN;
  const at::Tensor y = nn::wide_attention(q, k, v, 2);
  CHECK(y[0][65].narrow(0, 0, 4).isnan().all().item<bool>());
  CHECK(y[0].narrow(0, 0, 65).isfinite().all().item<bool>());
}

TEST_CASE("wide attention: parts of wider rows, the same bits on any number of threads", "[unit][nn]") {
  if (!nn::has_brgemm()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor all = at::randn({2, 200, 96});
  const std::vector<at::Tensor> parts = all.chunk(3, 2);
  const at::Tensor y = nn::wide_attention(parts[0], parts[1], parts[2], 4);
  CHECK(relative(y, expected(parts[0], parts[1], parts[2], 4)) < 2e-6);
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    CHECK(nn::wide_attention(parts[0], parts[1], parts[2], 4).equal(y));
  }
  at::set_num_threads(threads);
}
