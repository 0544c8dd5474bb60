// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/wide_conv.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/gathered_conv.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/row_products.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <functional>

using namespace medgen;

namespace {

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).norm().item<double>() / b.norm().item<double>();
}

/// Of sums in float32 against double: large planes of volumes are transformed along all three axes.
double tolerance(const at::Tensor& x) {
  return nn::filters_cubes(nn::plane_form(x)) ? 4e-6 : 2e-6;
}

/// One of the two ways to convolve.
struct Way {
  std::function<decltype(nn::winograd_conv)> conv;
  decltype(&nn::winograd_input_gradient) input_gradient;
  decltype(&nn::winograd_weight_gradient) weight_gradient;
};

const Way kWinograd{nn::winograd_conv, nn::winograd_input_gradient, nn::winograd_weight_gradient};
const Way kGathered{[](const auto& x, const auto& weight, const auto& bias, int64_t padding, const auto& y,
                       nn::Result result) { nn::gathered_conv(x, weight, bias, padding, y, result); },
                    nn::gathered_input_gradient, nn::gathered_weight_gradient};

struct Case {
  at::Tensor x, weight, bias;

  Case(int64_t in, int64_t out, at::IntArrayRef size, at::ScalarType type = at::kFloat) {
    std::vector<int64_t> shape{2, in}, kernel{out, in};
    shape.insert(shape.end(), size.begin(), size.end());
    kernel.insert(kernel.end(), size.size(), 3);
    at::manual_seed(7);  // sums of few numbers that happen to cancel have no digits to compare
    x = nn::channels_last(at::randn(shape)).to(type);
    // Where bfloat16 is multiplied, weights are rounded to it.
    weight = nn::channels_last(at::rand(kernel).sub(0.5).to(type).to(at::kFloat));
    bias = at::randn({out});
  }

  /// In double.
  at::Tensor expected(at::IntArrayRef padding = 1) const {
    const at::Tensor wide = x.to(at::kDouble), g = weight.to(at::kDouble), b = bias.to(at::kDouble);
    return x.dim() == 5 ? at::conv3d(wide, g, b, 1, padding) : at::conv2d(wide, g, b, 1, padding);
  }

  at::Tensor room(at::ScalarType type, int64_t planes = -1) const {
    std::vector<int64_t> shape = x.sizes().vec();
    shape[1] = weight.size(0);
    if (planes >= 0) shape[2] = planes;
    return nn::channels_last(at::randn(shape)).to(type);
  }

  at::Tensor result(const Way& way, at::ScalarType type = at::kFloat) const {
    const at::Tensor y = room(type);
    way.conv(x, weight, bias, 1, y, nn::Result::Replace);
    return y;
  }

  /// Of x or of the weights, in double.
  at::Tensor expected_gradient(const at::Tensor& dy, bool of_x) const {
    const std::vector<int64_t> one(static_cast<size_t>(x.dim() - 2), 1), none(one.size(), 0);
    const auto [dx, dg, db] =
        at::convolution_backward(dy.to(at::kDouble), x.to(at::kDouble), weight.to(at::kDouble), std::nullopt, one, one,
                                 one, false, none, 1, {of_x, !of_x, false});
    return of_x ? dx : dg;
  }
};

}  // namespace

TEST_CASE("wide conv: it is the convolution, for any channels and lengths", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  const auto [in, out] = GENERATE(table<int64_t, int64_t>({{16, 16}, {64, 80}, {1, 48}, {20, 3}, {35, 130}}));
  const auto size = GENERATE(std::vector<int64_t>{9, 13, 6}, std::vector<int64_t>{1, 4, 9}, std::vector<int64_t>{11, 7},
                             std::vector<int64_t>{1, 1, 1}, std::vector<int64_t>{6, 33, 34});
  const Case one(in, out, size);
  CHECK(relative(one.result(way), one.expected()) < tolerance(one.x));
}

TEST_CASE("wide conv: bfloat16 maps are rounded once", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  const Case one(64, 48, GENERATE(std::vector<int64_t>{6, 11, 10}, std::vector<int64_t>{3, 33, 32}), at::kBFloat16);
  CHECK(relative(one.result(way), one.expected()) < tolerance(one.x));
  CHECK(one.result(way, at::kBFloat16).equal(one.result(way).to(at::kBFloat16)));
}

TEST_CASE("wide conv: small maps of bfloat16 meet weights of the type that is multiplied", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const auto [in, out] = GENERATE(table<int64_t, int64_t>({{64, 130}, {35, 130}, {64, 3}}));
  Case one(in, out, GENERATE(std::vector<int64_t>{5, 7, 6}, std::vector<int64_t>{11, 7}), at::kBFloat16);
  one.weight = nn::channels_last(at::rand(one.weight.sizes()).sub(0.5));
  const auto convolve = [&](at::ScalarType products) {
    const at::Tensor y = at::zeros_like(one.room(at::kFloat));
    nn::gathered_conv(one.x, one.weight, one.bias, 1, y, nn::Result::Add, products);
    return y;
  };
  const at::Tensor exact = convolve(at::kFloat), narrow = convolve(at::kBFloat16);
  CHECK(relative(exact, one.expected()) < tolerance(one.x));
  const bool pairs = in % 2 == 0 && out % 2 == 0;
  const at::ScalarType products = pairs ? nn::product_type(at::kBFloat16, at::kCPU) : at::kFloat;
  CHECK(narrow.equal(exact) == (products == at::kFloat));
  const at::Tensor dy = one.room(at::kBFloat16), dx = nn::gathered_input_gradient(dy, one.weight);
  one.weight = one.weight.to(products);
  CHECK(relative(narrow, one.expected()) < tolerance(one.x));
  CHECK(convolve(at::kBFloat16).equal(narrow));
  CHECK(nn::gathered_input_gradient(dy, one.weight).equal(dx));
}

TEST_CASE("wide conv: results are added to what is there, of either type", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  const auto size = GENERATE(std::vector<int64_t>{4, 12, 9}, std::vector<int64_t>{5, 37, 32});
  const Case one(32, 20, size, GENERATE(at::kFloat, at::kBFloat16));
  const at::Tensor y = one.room(GENERATE(at::kFloat, at::kBFloat16)), sum = y.to(at::kDouble) + one.expected();
  way.conv(one.x, one.weight, one.bias, 1, y, nn::Result::Add);
  CHECK(relative(y, sum) < (y.scalar_type() == at::kFloat ? tolerance(one.x) : 3e-3));
}

TEST_CASE("wide conv: planes are the same to the bit in any slab and on any number of threads", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  // Planes; cubes of which some slabs are convolved together; cubes in tasks alone.
  const Case one(
      48, 70,
      GENERATE(std::vector<int64_t>{21, 13, 12}, std::vector<int64_t>{21, 18, 15}, std::vector<int64_t>{21, 31, 34}));
  const at::Tensor whole = one.result(way);
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    CHECK(one.result(way).equal(whole));
  }
  at::set_num_threads(threads);
  const bool cubes = nn::filters_cubes(nn::plane_form(one.x));
  for (const int64_t planes : cubes ? std::vector<int64_t>{4, 8, 12} : std::vector<int64_t>{1, 2, 5, 12}) {
    CAPTURE(planes);
    Case slab = one;
    slab.x = one.x.narrow(2, nn::kCubePlanes - 1, planes + 2);
    const at::Tensor y = one.room(at::kFloat, planes);
    way.conv(slab.x, one.weight, one.bias, 0, y, nn::Result::Replace);
    CHECK(y.equal(whole.narrow(2, nn::kCubePlanes, planes)));
  }
}

TEST_CASE("wide conv: what is made of the weights follows them", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  Case one(16, 32, {5, 12, 12});
  one.result(way);
  SECTION("changed in place") {
    one.weight.mul_(-2);
  }
  SECTION("another tensor, larger") {
    one = Case(48, 64, {5, 12, 12});
  }
  SECTION("another order in memory") {
    one.weight = at::rand(one.weight.sizes());
  }
  SECTION("of half width") {
    one.weight = one.weight.to(at::kBFloat16);
  }
  SECTION("on larger planes") {
    const at::Tensor weight = one.weight;
    one = Case(16, 32, {5, 40, 40});
    one.weight = weight;
  }
  CHECK(relative(one.result(way), one.expected()) < tolerance(one.x));
}

TEST_CASE("wide conv: gradients are those of the same numbers in double precision", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  const auto [in, out] = GENERATE(table<int64_t, int64_t>({{16, 16}, {64, 80}, {1, 48}, {20, 3}, {35, 130}, {600, 8}}));
  const auto size =
      GENERATE(std::vector<int64_t>{9, 13, 6}, std::vector<int64_t>{1, 4, 9}, std::vector<int64_t>{11, 7},
               std::vector<int64_t>{1, 1, 1}, std::vector<int64_t>{3, 41, 37}, std::vector<int64_t>{6, 17, 38});
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const Case one(in, out, size, type);
  const at::Tensor dy = one.room(type);
  const at::Tensor dx = way.input_gradient(dy, one.weight), dg = way.weight_gradient(one.x, dy);
  CHECK(dx.scalar_type() == type);
  CHECK(dg.scalar_type() == at::kFloat);
  CHECK(relative(dx, one.expected_gradient(dy, true)) < (type == at::kFloat ? tolerance(dy) : 4e-3));
  CHECK(relative(dg, one.expected_gradient(dy, false)) < 4e-6);
}

TEST_CASE("wide conv: gradients are the same to the bit on any number of threads", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const Way way = GENERATE(kWinograd, kGathered);
  const Case one(48, 70, {10, 18, 15}, at::kBFloat16);
  const at::Tensor dy = one.room(at::kBFloat16);
  const at::Tensor dx = way.input_gradient(dy, one.weight), dg = way.weight_gradient(one.x, dy);
  const int threads = at::get_num_threads();
  for (const int count : {1, 2, 3}) {
    at::set_num_threads(count);
    CHECK(way.input_gradient(dy, one.weight).equal(dx));
    CHECK(way.weight_gradient(one.x, dy).equal(dg));
  }
  at::set_num_threads(threads);
}

TEST_CASE("wide conv: the number of samples does not decide how they are convolved", "[unit][nn]") {
  const nn::Pass pass = GENERATE(nn::Pass::Inference, nn::Pass::Training);
  const auto prefers = [&](const std::vector<int64_t>& shape) {
    return nn::prefers_wide_conv(nn::channels_last(at::rand(shape)), at::kFloat, pass);
  };
  const bool can = nn::has_brgemm();
  for (const int64_t samples : {1, 40}) {
    CHECK(prefers({samples, 4, 64, 8, 8}) == can);
    CHECK_FALSE(prefers({samples, 4, 65, 8, 8}));
    CHECK(prefers({samples, 4, 3, 16, 16}) == can);
    CHECK(prefers({samples, 4, 9, 9}) == can);
  }
}

TEST_CASE("wide conv: bfloat16 that is multiplied is gathered in training alone", "[unit][nn]") {
  const bool narrow = nn::product_type(at::kBFloat16, at::kCPU) == at::kBFloat16,
             can = nn::prefers_float(at::kBFloat16);
  CHECK(nn::prefers_gathered(512, at::kBFloat16, nn::Pass::Training) == can);
  CHECK(nn::prefers_gathered(512, at::kBFloat16, nn::Pass::Inference) == (can && !narrow));
  CHECK(nn::prefers_gathered(512, at::kFloat, nn::Pass::Inference) == nn::has_brgemm());
}

TEST_CASE("winograd: it is preferred for large planes", "[unit][nn]") {
  const bool can = nn::prefers_winograd({3, 16, 16}, at::kFloat);
  CHECK(nn::prefers_winograd({3, 12, 11}, at::kFloat) == can);
  CHECK(nn::prefers_winograd({2, 64, 64}, at::kFloat) == can);
  CHECK_FALSE(nn::prefers_winograd({3, 5, 5}, at::kFloat));
  CHECK_FALSE(nn::prefers_winograd({3, 1, 1000}, at::kFloat));
  CHECK_FALSE(nn::prefers_winograd({2, 16, 16}, at::kFloat));
}

TEST_CASE("row products: they are the linear layer, rounded once, and added to what is there", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const auto [in, out] = GENERATE(table<int64_t, int64_t>({{1, 1}, {64, 64}, {37, 130}}));
  const at::ScalarType type = GENERATE(at::kFloat, at::kBFloat16);
  const at::Tensor x = at::randn({3, 211, in}).to(type), weight = at::randn({out, in}), bias = at::randn({out});
  const at::Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble), bias.to(at::kDouble));
  const double rounding = type == at::kFloat ? 2e-6 : 3e-3;
  const at::Tensor y = nn::row_products(x, weight, bias);
  CHECK(y.scalar_type() == type);
  CHECK(relative(y, expected) < rounding);
  const at::Tensor sum = at::randn(expected.sizes()).to(type), added = sum.to(at::kDouble) + expected;
  nn::put_row_products(x, weight, bias, sum, nn::Result::Add);
  CHECK(relative(sum, added) < rounding);
  const at::Tensor part = nn::row_products(x.narrow(0, 1, 2).narrow(1, 5, 200).contiguous(), weight, bias);
  CHECK(part.equal(y.narrow(0, 1, 2).narrow(1, 5, 200)));
  CHECK(relative(nn::row_products(x, weight, {}), expected - bias.to(at::kDouble)) < rounding);
}
