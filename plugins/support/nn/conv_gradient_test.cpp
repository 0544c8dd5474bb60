// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/conv_gradient.h"

#include "plugins/support/nn/ops.h"

#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <tuple>

using namespace medgen;

namespace {

using Sizes = std::vector<int64_t>;

at::Tensor map_of(int64_t samples, int64_t channels, const Sizes& lengths) {
  Sizes shape{samples, channels};
  shape.insert(shape.end(), lengths.begin(), lengths.end());
  return nn::channels_last(at::randn(shape).to(at::kBFloat16));
}

/// LibTorch's, of the same numbers in double precision.
at::Tensor expected(const at::Tensor& x, const at::Tensor& dy, int64_t kernel) {
  const auto axes = static_cast<size_t>(x.dim() - 2);
  const bool transposed = kernel == 4;
  Sizes shape{dy.size(1), x.size(1)};
  if (transposed) std::swap(shape[0], shape[1]);
  shape.insert(shape.end(), axes, kernel);
  const at::Tensor weight = at::empty(shape, at::kDouble);
  const at::Tensor gradient =
      std::get<1>(at::convolution_backward(dy.to(at::kDouble).contiguous(), x.to(at::kDouble).contiguous(), weight,
                                           std::nullopt, Sizes(axes, transposed ? 2 : 1), Sizes(axes, 1),
                                           Sizes(axes, 1), transposed, Sizes(axes, 0), 1, {false, true, false}));
  return transposed ? gradient.transpose(0, 1) : gradient;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b).norm().item<double>() / b.norm().item<double>();
}

}  // namespace

TEST_CASE("conv gradient: that of the same numbers in double precision", "[unit][nn]") {
  if (!nn::has_conv_gradient(at::empty({1, 1, 1, 1}, at::kBFloat16))) return;
  const auto [samples, in, out, lengths] = GENERATE(table<int64_t, int64_t, int64_t, Sizes>({
      {1, 1, 1, {1, 1, 1}},
      {1, 3, 2, {2, 1, 5}},
      {2, 20, 33, {5, 4, 3}},
      {1, 65, 32, {7, 9, 8}},
      {3, 130, 70, {2, 3, 2}},
      {1, 4, 4, {20, 21, 22}},
      {2, 16, 48, {9, 14}},
      {1, 1, 1, {1, 1}},
  }));
  const at::Tensor x = map_of(samples, in, lengths);
  SECTION("of a kernel of 3") {
    const at::Tensor dy = map_of(samples, out, lengths);
    const at::Tensor gradient = nn::conv_weight_gradient(x, dy);
    CHECK(relative(gradient, expected(x, dy, 3)) < 1e-6);
    // As weights lie: the optimiser would otherwise wait for a copy.
    CHECK(gradient.is_contiguous(nn::channels_last_format(gradient)));
    CHECK(relative(nn::conv_weight_gradient(x.contiguous(), dy.contiguous()), expected(x, dy, 3)) < 1e-6);
  }
  SECTION("of a transposed one of 4") {
    Sizes doubled = lengths;
    for (int64_t& length : doubled) length *= 2;
    const at::Tensor dy = map_of(samples, out, doubled);
    CHECK(relative(nn::doubling_weight_gradient(x, dy), expected(x, dy, 4)) < 1e-6);
  }
}

TEST_CASE("conv gradient: the same bits for any number of threads", "[unit][nn]") {
  if (!nn::has_conv_gradient(at::empty({1, 1, 1, 1}, at::kBFloat16))) return;
  const at::Tensor x = map_of(2, 16, {12, 20, 12}), dy = map_of(2, 24, {12, 20, 12});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = nn::conv_weight_gradient(x, dy);
  at::set_num_threads(3);
  CHECK(at::equal(one, nn::conv_weight_gradient(x, dy)));
  at::set_num_threads(before);
}

TEST_CASE("conv gradient: what it does not take is said", "[unit][nn]") {
  CHECK_FALSE(nn::has_conv_gradient(at::empty({1, 1, 4, 4, 4})));
  CHECK_FALSE(nn::has_conv_gradient(at::empty({1, 4, 4}, at::kBFloat16)));
}
