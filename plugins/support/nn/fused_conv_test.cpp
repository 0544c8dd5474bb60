// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/fused_conv.h"
#include "plugins/support/nn/layers.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

using namespace medgen;
using nn::Conv;
using nn::ConvOptions;

namespace {

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).to(at::kDouble).norm().item<double>() / b.to(at::kDouble).norm().item<double>();
}

/// A convolution with weights; its own way with gradients is LibTorch's ordinary operator.
struct Layer : Conv {
  explicit Layer(const ConvOptions& options) : Conv(options) { initialize(3); }

  at::Tensor ordinary(const at::Tensor& x) const {
    const at::AutoGradMode gradients(true);
    return forward(x).detach();
  }
};

at::Tensor input(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return nn::channels_last(at::randn(shape)).to(dtype);
}

}  // namespace

TEST_CASE("conv: without gradients it is the ordinary one, for few voxels and many", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const int64_t stride = GENERATE(1, 2);
  Layer conv({.in = 6, .out = 5, .stride = stride});
  Layer flat({.rank = 2, .in = 6, .out = 5, .stride = stride, .bias = false});
  const at::Tensor x = input(GENERATE(std::vector<int64_t>{2, 6, 4, 5, 3}, std::vector<int64_t>{1, 6, 60, 13, 12},
                                      std::vector<int64_t>{1, 6, 24, 25, 23}));
  // What filtering in cubes may differ by: docs/numerics.md.
  const double tolerance = stride == 1 && nn::filters_cubes(nn::plane_form(x)) ? 4e-6 : 1e-6;
  CHECK(relative(conv.forward(x), conv.ordinary(x)) < tolerance);
  CHECK(relative(conv.forward(x.contiguous()), conv.ordinary(x)) < tolerance);
  CHECK(relative(flat.forward(x.select(2, 0)), flat.ordinary(x.select(2, 0))) < 1e-6);
}

TEST_CASE("conv: a packed weight follows the weight, its type and its value", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Layer conv({.in = 6, .out = 5});
  const at::Tensor x = input({1, 6, 4, 5, 3});
  conv.forward(x);
  conv.forward_upsampled(x);
  SECTION("changed in place") {
    conv.parameters().front().parameter->value.mul_(-3);
  }
  SECTION("made anew") {
    conv.initialize(8);
  }
  SECTION("in another type and back") {
    conv.set_precision(at::kBFloat16);
    CHECK(conv.forward(x.to(at::kBFloat16)).scalar_type() == at::kBFloat16);
    conv.set_precision(at::kFloat);
  }
  SECTION("for other lengths") {
    const at::Tensor other = input({1, 6, 9, 2, 8});
    CHECK(relative(conv.forward(other), conv.ordinary(other)) < 1e-6);
  }
  CHECK(relative(conv.forward(x), conv.ordinary(x)) < 1e-6);
  CHECK(relative(conv.forward_upsampled(x), conv.ordinary(nn::upsample_nearest_2x(x))) < 1e-6);
}

TEST_CASE("conv: on a doubled map it is the convolution of the doubled map", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const double tolerance = dtype == at::kFloat ? 1e-6 : 1e-2;
  Layer conv({.in = 7, .out = 5});
  Layer flat({.rank = 2, .in = 7, .out = 5, .bias = false});
  conv.set_precision(dtype);
  flat.set_precision(dtype);
  const at::Tensor x = input(GENERATE(std::vector<int64_t>{2, 7, 1, 5, 3}, std::vector<int64_t>{1, 7, 6, 1, 8}), dtype);
  const at::Tensor doubled = nn::upsample_nearest_2x(x);
  CHECK(relative(conv.forward_upsampled(x), conv.forward(doubled)) < tolerance);
  CHECK(relative(flat.forward_upsampled(x.select(2, 0)), flat.forward(doubled.select(2, 0))) < tolerance);
  const at::AutoGradMode gradients(true);
  CHECK(conv.forward_upsampled(x).equal(conv.forward(doubled)));
}

TEST_CASE("conv: added to a tensor it is rounded once, in the tensor's memory", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Layer exact({.in = 6, .out = 32});
  Layer half({.in = 6, .out = 32});
  half.set_precision(at::kBFloat16);
  const at::Tensor x = input({2, 6, 4, 5, 3}, at::kBFloat16);
  const at::Tensor y = input({2, 32, 4, 5, 3}, at::kBFloat16).mul(20);
  for (const auto& [name, parameter] : exact.parameters())
    parameter->value = parameter->value.to(at::kBFloat16).to(at::kFloat);
  const at::Tensor expected = exact.forward(x.to(at::kFloat)).add(y.to(at::kFloat));
  const at::Tensor sum = y.clone();
  const at::Tensor result = half.forward_add(x, sum);
  CHECK(relative(result, expected) <= relative(half.forward(x).add(y), expected));
  CHECK(relative(result, expected) < 3e-3);
  if (nn::can_fuse_conv(x)) CHECK(result.const_data_ptr() == sum.const_data_ptr());
  // In another order or another type it is still the sum.
  CHECK(relative(half.forward_add(x, y.contiguous()), expected) < 6e-3);
  CHECK(relative(half.forward_add(x, y.to(at::kFloat)), expected) < 6e-3);
}

TEST_CASE("conv: a slab is added to part of a larger map, whose other planes stay", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  Layer conv({.in = 6, .out = 5});
  const at::Tensor x = input({1, 6, 5, 4, 3});
  const at::Tensor all = at::randn({9, 4, 3, 5});
  const at::Tensor before = all.clone();
  conv.put_slab(x, all.narrow(0, 4, 3).permute({3, 0, 1, 2}).unsqueeze(0), nn::Result::Add);
  CHECK(all.narrow(0, 0, 4).equal(before.narrow(0, 0, 4)));
  CHECK(all.narrow(0, 7, 2).equal(before.narrow(0, 7, 2)));
  const at::Tensor added = all.narrow(0, 4, 3).sub(before.narrow(0, 4, 3)).permute({3, 0, 1, 2}).unsqueeze(0);
  CHECK(relative(added, conv.ordinary(x).narrow(2, 1, 3)) < 1e-5);
}

TEST_CASE("conv: the number of threads changes no bit", "[unit][nn]") {
  const at::NoGradGuard no_grad;
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const bool wide = dtype == at::kFloat && GENERATE(false, true);  // more channels than one thread has
  const int64_t in = wide ? 256 : 6, out = wide ? 136 : 5;
  Layer conv({.in = in, .out = out});
  conv.set_precision(dtype);
  const at::Tensor x = input({1, in, 7, 5, 4}, dtype);
  const at::Tensor y = input({1, out, 7, 5, 4}, dtype);
  const int threads = at::get_num_threads();
  const auto results = [&](int count) {
    at::set_num_threads(count);
    return std::vector{conv.forward(x), conv.forward_upsampled(x), conv.forward_add(x, y.clone())};
  };
  const auto one = results(1);
  const auto two = results(2);
  at::set_num_threads(threads);
  for (size_t i = 0; i < one.size(); ++i) CHECK(one[i].equal(two[i]));
  CHECK(relative(one[0].to(at::kFloat), conv.ordinary(x).to(at::kFloat)) < (dtype == at::kFloat ? 1e-5 : 1e-2));
}
