// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/products.h"

#include "plugins/support/nn/layers.h"
#include "plugins/support/nn/ops.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

using namespace medgen;
using at::kBFloat16;
using at::kFloat;

namespace {

/// Of a number rounded to bfloat16 once, whatever its size: at most 2^-9, a third less in the mean.
constexpr double kOneRounding = 2.2e-3;

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).norm().item<double>() / b.to(at::kDouble).norm().item<double>();
}

/// Numbers that bfloat16 holds exactly.
at::Tensor exact(std::initializer_list<int64_t> shape) {
  return nn::channels_last(at::randn(std::vector<int64_t>(shape)).to(kBFloat16).to(kFloat));
}

/// The layer with weights that bfloat16 holds exactly.
void start(nn::Module& layer) {
  layer.initialize(3);
  layer.set_precision(kBFloat16);
  for (const nn::NamedParameter& each : layer.parameters())
    each.parameter->value = each.parameter->value.to(kBFloat16).to(each.parameter->value.scalar_type());
}

}  // namespace

TEST_CASE("products: float32 is always multiplied, on the CPU narrow types where the processor can", "[unit][nn]") {
  CHECK(nn::product_type(kFloat, at::kCPU) == kFloat);
  CHECK(nn::product_type(kBFloat16, at::kCUDA) == kBFloat16);
  const at::ScalarType narrow = nn::product_type(kBFloat16, at::kCPU);
  CHECK((narrow == kBFloat16 || narrow == kFloat));
  CHECK(nn::for_products(exact({1, 2, 3, 3, 3}).to(kBFloat16)).scalar_type() == narrow);
}

TEST_CASE("products: narrow activations give what float32 gives, rounded once", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const at::Tensor x = exact({1, 24, 9, 7, 8}), y = exact({1, 40, 9, 7, 8});
  SECTION("convolution") {
    nn::Conv conv({.in = 24, .out = 40, .kernel = GENERATE(1, 3), .padding = 0});
    start(conv);
    const at::Tensor got = conv.forward(x.to(kBFloat16));
    CHECK(got.scalar_type() == kBFloat16);
    CHECK(relative(got, conv.forward(x)) < kOneRounding);
  }
  SECTION("convolution that is added") {
    nn::Conv conv({.in = 24, .out = 40});
    start(conv);
    const at::Tensor wanted = conv.forward(x).add(y);
    CHECK(relative(conv.forward_add(x.to(kBFloat16), y.to(kBFloat16)), wanted) < kOneRounding);
    at::Tensor sum = y.to(kBFloat16);
    conv.put_slab(x.to(kBFloat16), sum.narrow(2, 1, 7), nn::Result::Add);
    CHECK(relative(sum.narrow(2, 1, 7), wanted.narrow(2, 1, 7)) < kOneRounding);
  }
  SECTION("convolution of a doubled map, with sums of weights") {
    nn::Conv conv({.in = 24, .out = 40});
    start(conv);
    CHECK(relative(conv.forward_upsampled(x.to(kBFloat16)), conv.forward_upsampled(x)) < 2 * kOneRounding);
  }
  SECTION("linear layer") {
    nn::Linear linear(24, 40);
    start(linear);
    const at::Tensor tokens = nn::to_tokens(x);
    const at::Tensor got = linear.forward(tokens.to(kBFloat16));
    CHECK(got.scalar_type() == kBFloat16);
    CHECK(relative(got, linear.forward(tokens)) < kOneRounding);
  }
}

TEST_CASE("products: a linear layer of few rows or many gives the same bits while it learns", "[unit][nn]") {
  at::manual_seed(1);
  const std::int64_t rows = GENERATE(200, 300);
  nn::Linear linear(512, 512);
  linear.initialize(3);
  linear.set_precision(kBFloat16);
  const at::Tensor x = at::randn({rows, 512}).to(kBFloat16);
  const at::Tensor learning = linear.forward(x).detach();
  const at::NoGradGuard no_grad;
  CHECK(linear.forward(x).equal(learning));
}
