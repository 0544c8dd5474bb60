// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/gradient_buckets.h"

#include "plugins/support/test_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

namespace medgen::support {
namespace {

using Catch::Matchers::Contains;
using testing::TestHost;

/// An exchange with another process whose buckets are given; notes what this one sends, and when.
struct Exchange {
  TestHost host;
  std::vector<at::Tensor> others, sent;
  std::vector<at::Tensor> waiting;
  double share = 0.5;
  bool refuses = false;
  int sent_before_the_end = 0;  ///< while `running`
  bool running = false;

  Exchange() {
    host.gradients = &table();
    current() = this;
  }

  static Exchange*& current() {
    static Exchange* one = nullptr;
    return one;
  }

  static const medgen_gradients_t& table() {
    static const medgen_gradients_t table{
        sizeof table, 0, [](const medgen_context_t*) noexcept { return current()->share; },
        [](const medgen_context_t*, medgen_tensor_t* tensor) noexcept { return current()->begin(*tensor); },
        [](const medgen_context_t*) noexcept { return current()->finish(); }};
    return table;
  }

  medgen_status_t begin(const medgen_tensor_t& tensor) {
    if (refuses) return MEDGEN_E_CANCELLED;
    waiting.push_back(at::from_blob(tensor.data, {tensor.shape[0]}));
    sent.push_back(waiting.back().clone());
    sent_before_the_end += running ? 1 : 0;
    return MEDGEN_OK;
  }

  medgen_status_t finish() {
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (i < others.size()) waiting[i].add_(others[i]);
    }
    waiting.clear();
    return MEDGEN_OK;
  }

  void backward(GradientBuckets& buckets, const at::Tensor& loss, bool overlapped = true) {
    host.call([&](const sdk::Context& context, sdk::Outputs&) {
      buckets.backward(loss, sdk::Gradients(context), overlapped);
    });
  }
};

/// A chain of products; each layer's gradient is there before that of the layer in front of it.
struct Chain {
  std::vector<at::Tensor> layers;

  explicit Chain(int count, std::int64_t size = 8) {
    for (int i = 0; i < count; ++i) layers.push_back(at::randn({size, size}).div_(3).requires_grad_(true));
  }

  /// The same values in tensors of their own.
  Chain copy() const {
    Chain other(0);
    for (const at::Tensor& layer : layers) other.layers.push_back(layer.detach().clone().requires_grad_(true));
    return other;
  }

  at::Tensor loss(at::Tensor x) const {
    for (const at::Tensor& layer : layers) x = x.matmul(layer).tanh();
    return x.square().mean();
  }
};

}  // namespace

TEST_CASE("buckets: two shares give the gradients of the whole batch, in every step", "[unit][training]") {
  const Chain whole(5);
  const Chain first = whole.copy(), second = whole.copy();
  GradientBuckets one(first.layers, 300), two(second.layers, 300);
  CHECK(one.size() == 5);
  for (int step = 0; step < 3; ++step) {
    const at::Tensor x = at::randn({4, 8});
    whole.loss(x).backward();
    Exchange exchange;
    exchange.backward(one, first.loss(x.narrow(0, 0, 2)));
    Exchange other;
    other.others = exchange.sent;
    other.backward(two, second.loss(x.narrow(0, 2, 2)));
    for (std::size_t i = 0; i < whole.layers.size(); ++i) {
      CHECK(second.layers[i].grad().allclose(whole.layers[i].grad(), 1e-5, 1e-7));
      for (const at::Tensor& layer : {whole.layers[i], first.layers[i], second.layers[i]}) layer.mutable_grad().reset();
    }
  }
}

TEST_CASE("buckets: from the second step on they leave while the pass goes on, in one order", "[unit][training]") {
  const Chain chain(6);
  GradientBuckets buckets(chain.layers, 300);
  for (const int step : {0, 1}) {
    Exchange exchange;
    // The first layer's gradient is the last: its hook-like probe tells whether others had left by then.
    const at::Tensor x = at::randn({4, 8}).requires_grad_(true);
    x.register_hook([&](const at::Tensor&) { exchange.running = false; });
    exchange.running = true;
    exchange.backward(buckets, chain.loss(x));
    CHECK(exchange.sent.size() == 6);
    CHECK((exchange.sent_before_the_end > 3) == (step > 0));
    for (const at::Tensor& layer : chain.layers) layer.mutable_grad().reset();
  }
}

TEST_CASE("buckets: without an overlap they all leave when the pass is over", "[unit][training]") {
  const Chain chain(6);
  const Chain plain = chain.copy();
  GradientBuckets buckets(chain.layers, 300);
  for (const bool overlapped : {true, false}) {
    Exchange exchange;
    const at::Tensor x = at::randn({4, 8}).requires_grad_(true);
    x.register_hook([&](const at::Tensor&) { exchange.running = false; });
    exchange.running = true;
    exchange.backward(buckets, chain.loss(x), overlapped);
    plain.loss(x).backward();
    CHECK(exchange.sent.size() == 6);
    if (!overlapped) CHECK(exchange.sent_before_the_end == 0);
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(chain.layers[i].grad().allclose(plain.layers[i].grad().mul(0.5), 1e-5, 1e-7));
      for (const at::Tensor& layer : {chain.layers[i], plain.layers[i]}) layer.mutable_grad().reset();
    }
  }
}

TEST_CASE("buckets: what was gathered before is exchanged, too", "[unit][training]") {
  const Chain chain(3);
  const Chain plain = chain.copy();
  GradientBuckets buckets(chain.layers);
  const at::Tensor x = at::randn({4, 8}), y = at::randn({4, 8});
  for (const Chain* each : {&chain, &plain}) each->loss(x).backward();
  plain.loss(y).backward();
  Exchange exchange;
  exchange.share = 0.25;
  exchange.backward(buckets, chain.loss(y));
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(chain.layers[i].grad().allclose(plain.layers[i].grad().mul(0.25), 1e-5, 1e-7));
}

TEST_CASE("buckets: a parameter has a gradient where any process has one, and else none", "[unit][training]") {
  Chain chain(3);
  const at::Tensor unused = at::randn({5}).requires_grad_(true), elsewhere = at::randn({2}).requires_grad_(true);
  std::vector<at::Tensor> all = chain.layers;
  all.push_back(unused);
  all.push_back(elsewhere);
  GradientBuckets buckets(all);
  REQUIRE(buckets.size() == 1);
  Exchange exchange;
  at::Tensor other = at::randn({2 + 5 + 3 * 64 + 5}).zero_();
  other.narrow(0, 0, 2).fill_(7);  // the last parameter comes first
  other.narrow(0, 2 + 5 + 3 * 64, 1).fill_(1);
  exchange.others = {other};
  exchange.backward(buckets, chain.loss(at::randn({4, 8})));
  CHECK_FALSE(unused.grad().defined());
  REQUIRE(elsewhere.grad().defined());
  CHECK(elsewhere.grad().equal(at::randn({2}).fill_(7)));
}

TEST_CASE("buckets: an exchange that fails ends the step, and leaves no hooks behind", "[unit][training]") {
  const Chain chain(2);
  GradientBuckets buckets(chain.layers);
  {
    Exchange exchange;
    exchange.refuses = true;
    CHECK_THROWS_WITH(exchange.backward(buckets, chain.loss(at::randn({4, 8}))), Contains("exchange of gradients"));
  }
  chain.loss(at::randn({4, 8})).backward();
  CHECK(chain.layers[0].grad().defined());
}

}  // namespace medgen::support
