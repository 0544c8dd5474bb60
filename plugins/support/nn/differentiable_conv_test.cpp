// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/conv_gradient.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/layers.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <optional>

using namespace medgen;
using nn::Conv;
using nn::ConvOptions;

namespace {

struct Gradients {
  at::Tensor y, x, weight, bias;
};

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).to(at::kDouble).norm().item<double>() / b.to(at::kDouble).norm().item<double>();
}

struct Layer : Conv {
  Layer(const ConvOptions& options, at::ScalarType compute) : Conv(options) {
    initialize(3);
    set_compute_dtype(compute);
    for (const nn::NamedParameter& each : parameters()) each.parameter->value.requires_grad_(true);
  }

  at::Tensor gradient(size_t i) { return parameters()[i].parameter->value.grad(); }

  /// Of the sum of y times dy, for x as activations have it here.
  Gradients run(const at::Tensor& input, const at::Tensor& dy, bool upsampled) {
    const at::AutoGradMode with_gradients(true);
    at::Tensor x = input.to(compute_dtype()).clone();
    x.requires_grad_(true);
    const at::Tensor y = upsampled ? forward_upsampled(x) : forward(x);
    (y.to(at::kFloat) * dy).sum().backward();
    return {y.detach().to(at::kFloat), x.grad().to(at::kFloat), gradient(0),
            options().bias ? gradient(1) : at::Tensor()};
  }
};

}  // namespace

TEST_CASE("conv: a result with gradients may be added to in place", "[unit][nn]") {
  const auto size = GENERATE(std::vector<int64_t>{3, 12, 12}, std::vector<int64_t>{3, 33, 32});
  Layer conv({.in = 16, .out = 24}, at::kBFloat16);
  const at::Tensor x = nn::channels_last(at::randn({1, 16, size[0], size[1], size[2]})).to(at::kBFloat16);
  const bool keeps = GENERATE(false, true);
  std::optional<nn::KeepArrays> keep;
  if (keeps) keep.emplace();
  const at::Tensor y = conv.forward(x);
  const at::Tensor before = y.detach().clone();
  CHECK_NOTHROW(y.add_(1));
  CHECK(y.detach().equal(before.add(1)));
}

TEST_CASE("conv: gradients in bfloat16 are those in float32, rounded", "[unit][nn]") {
  const bool upsampled = GENERATE(false, true), bias = GENERATE(true, false);
  const int64_t rank = GENERATE(2, 3), samples = GENERATE(1, 2);
  const ConvOptions options{.rank = rank, .in = 24, .out = 40, .bias = bias};
  std::vector<int64_t> shape{samples, 24, 12, 10, 9};
  shape.resize(static_cast<size_t>(2 + rank));
  const at::Tensor x = nn::channels_last(at::randn(shape).to(at::kBFloat16).to(at::kFloat));
  Layer exact(options, at::kFloat), narrow(options, at::kBFloat16);
  shape[1] = 40;
  for (size_t axis = 2; axis < shape.size() && upsampled; ++axis) shape[axis] *= 2;
  const at::Tensor dy = nn::channels_last(at::randn(shape).to(at::kBFloat16).to(at::kFloat));
  const Gradients wanted = exact.run(x, dy, upsampled), got = narrow.run(x, dy, upsampled);
  CHECK(relative(got.y, wanted.y) < 5e-3);
  CHECK(relative(got.x, wanted.x) < 5e-3);
  CHECK(got.weight.scalar_type() == at::kFloat);
  // Both factors are exact here; LibTorch's own gradients would be rounded, 2e-3.
  const bool own = nn::has_brgemm() || nn::has_conv_gradient(at::empty({1, 1, 1, 1}, at::kBFloat16));
  CHECK(relative(got.weight, wanted.weight) < (own ? 4e-6 : 5e-3));
  if (bias) CHECK(relative(got.bias, wanted.bias) < (own ? 4e-6 : 5e-3));
}

TEST_CASE("conv: float32 layers of a bfloat16 network have the gradients of float32", "[unit][nn]") {
  const auto [in, out] = GENERATE(table<int64_t, int64_t>({{4, 40}, {40, 4}, {1, 16}}));
  const auto size =
      GENERATE(std::vector<int64_t>{5, 17, 16}, std::vector<int64_t>{1, 13, 12}, std::vector<int64_t>{3, 3, 3});
  const ConvOptions options{.in = in, .out = out, .role = nn::Role::Exact};
  const at::Tensor x =
      nn::channels_last(at::randn({2, in, size[0], size[1], size[2]}).to(at::kBFloat16).to(at::kFloat));
  const at::Tensor dy = nn::channels_last(at::randn({2, out, size[0], size[1], size[2]}));
  Layer plain(options, at::kFloat), within(options, at::kBFloat16);
  const Gradients wanted = plain.run(x, dy, false), got = within.run(x, dy, false);
  CHECK(relative(got.y, wanted.y) < 4e-6);
  CHECK(relative(got.x, wanted.x) < 5e-3);  // rounded, as x is
  CHECK(relative(got.weight, wanted.weight) < 4e-6);
  CHECK(relative(got.bias, wanted.bias) < 4e-6);
}

TEST_CASE("conv: results for bfloat16 have their channels last, of few channels too", "[unit][nn]") {
  const auto options =
      GENERATE(ConvOptions{.in = 4, .out = 40}, ConvOptions{.in = 1, .out = 40, .role = nn::Role::Exact},
               ConvOptions{.in = 3, .out = 40, .stride = 2});
  Layer conv(options, at::kBFloat16);
  const at::AutoGradMode with_gradients(true);
  const at::Tensor y = conv.forward(at::randn({1, options.in, 16, 16, 16}).to(at::kBFloat16));
  CHECK(y.scalar_type() == (options.role == nn::Role::Exact ? at::kFloat : at::kBFloat16));
  CHECK(y.is_contiguous(nn::channels_last_format(y)));
}

TEST_CASE("conv: gradients of other kernels in bfloat16 are those in float32, rounded", "[unit][nn]") {
  const bool bias = GENERATE(true, false);
  const auto options = GENERATE(ConvOptions{.in = 24, .out = 40, .kernel = 1, .padding = 0},
                                ConvOptions{.in = 24, .out = 40, .stride = 2},
                                ConvOptions{.in = 24, .out = 40, .kernel = 4, .stride = 2},
                                ConvOptions{.in = 24, .out = 40, .stride = 2, .transposed = true, .output_padding = 1});
  ConvOptions with_bias = options;
  with_bias.bias = bias;
  const at::Tensor x = nn::channels_last(at::randn({2, 24, 8, 10, 12}).to(at::kBFloat16).to(at::kFloat));
  Layer exact(with_bias, at::kFloat), narrow(with_bias, at::kBFloat16);
  std::vector<int64_t> shape{2, 40};
  for (int64_t axis = 2; axis < 5; ++axis) shape.push_back(exact.output_length(x.size(axis)));
  const at::Tensor dy = nn::channels_last(at::randn(shape).to(at::kBFloat16).to(at::kFloat));
  const Gradients wanted = exact.run(x, dy, false), got = narrow.run(x, dy, false);
  CHECK(relative(got.y, wanted.y) < 5e-3);
  CHECK(relative(got.x, wanted.x) < 5e-3);
  const bool widened = nn::product_type(at::kBFloat16, at::kCPU) == at::kFloat;
  CHECK(relative(got.weight, wanted.weight) < (widened ? 4e-6 : 5e-3));
  if (bias) CHECK(relative(got.bias, wanted.bias) < (widened ? 4e-6 : 5e-3));
}

TEST_CASE("linear: gradients in bfloat16 are those in float32, rounded", "[unit][nn]") {
  const at::AutoGradMode with_gradients(true);
  const bool bias = GENERATE(true, false);
  const at::Tensor narrow = at::randn({3, 20000, 5}).to(at::kBFloat16);
  const at::Tensor dy = at::randn({3, 20000, 7}).to(at::kBFloat16).to(at::kFloat);
  const auto gradients = [&](at::ScalarType type) {
    nn::Linear layer(5, 7, bias);
    layer.initialize(2);
    for (const nn::NamedParameter& each : layer.parameters()) each.parameter->value.requires_grad_(true);
    const at::Tensor x = narrow.to(type).requires_grad_(true);
    (layer.forward(x).to(at::kFloat) * dy).sum().backward();
    std::vector<at::Tensor> made{x.grad()};
    for (const nn::NamedParameter& each : layer.parameters()) made.push_back(each.parameter->value.grad());
    return made;
  };
  const auto wanted = gradients(at::kFloat), got = gradients(at::kBFloat16);
  const bool widened = nn::product_type(at::kBFloat16, at::kCPU) == at::kFloat;
  REQUIRE(got.size() == (bias ? 3 : 2));
  CHECK(relative(got[0].to(at::kFloat), wanted[0]) < 5e-3);
  for (size_t i = 1; i < got.size(); ++i) CHECK(relative(got[i], wanted[i]) < (widened ? 4e-6 : 5e-3));
}

TEST_CASE("conv: nothing is computed for what wants no gradient", "[unit][nn]") {
  Layer conv({.in = 4, .out = 4}, at::kBFloat16);
  const at::AutoGradMode with_gradients(true);
  const at::Tensor x = nn::channels_last(at::randn({1, 4, 5, 5, 5}).to(at::kBFloat16));
  SECTION("input") {
    conv.forward(x).sum().backward();
    CHECK_FALSE(x.grad().defined());
    CHECK(conv.gradient(0).defined());
  }
  SECTION("frozen weights") {
    for (const nn::NamedParameter& each : conv.parameters()) each.parameter->value.requires_grad_(false);
    at::Tensor learns = x.clone();
    learns.requires_grad_(true);
    conv.forward(learns).sum().backward();
    CHECK(learns.grad().defined());
    CHECK_FALSE(conv.gradient(0).defined());
  }
}
