// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <stdexcept>

using medgen::nn::checkpointed;
using medgen::nn::Segment;

namespace {

struct Fixture {
  at::Tensor x = at::randn({3, 5}).requires_grad_(true);
  at::Tensor y = at::randn({3, 5}).requires_grad_(true);
  at::Tensor weight = at::randn({5}).requires_grad_(true);
  int runs = 0;
  Segment segment = [this](at::TensorList in) {
    ++runs;
    return (in[0] * weight + in[1].sigmoid()).tanh() * in[0];
  };
};

}  // namespace

TEST_CASE("checkpoint: values and gradients have the bits of the plain pass, of inputs and of parameters", "[unit]") {
  Fixture f;
  const at::Tensor plain = f.segment({f.x, f.y});
  plain.square().sum().backward();
  const at::Tensor x = f.x.grad().clone(), y = f.y.grad().clone(), weight = f.weight.grad().clone();
  for (at::Tensor* leaf : {&f.x, &f.y, &f.weight}) leaf->mutable_grad().reset();
  const at::Tensor result = checkpointed(f.segment, {f.x, f.y});
  CHECK(result.equal(plain));
  CHECK(f.runs == 2);
  result.square().sum().backward();
  CHECK(f.runs == 3);
  CHECK(f.x.grad().equal(x));
  CHECK(f.y.grad().equal(y));
  CHECK(f.weight.grad().equal(weight));
}

TEST_CASE("checkpoint: an input without gradients gets none", "[unit]") {
  Fixture f;
  checkpointed(f.segment, {f.x, f.y.detach()}).sum().backward();
  CHECK(f.x.grad().defined());
  CHECK_FALSE(f.y.grad().defined());
}

TEST_CASE("checkpoint: where no input wants gradients the segment runs once, in the outer graph", "[unit]") {
  Fixture f;
  checkpointed(f.segment, {f.x.detach(), f.y.detach()}).sum().backward();
  CHECK(f.runs == 1);
  CHECK(f.weight.grad().defined());
  const at::NoGradGuard no_grad;
  CHECK_FALSE(checkpointed(f.segment, {f.x, f.y}).requires_grad());
}

TEST_CASE("checkpoint: what a segment throws arrives, in either pass", "[unit]") {
  Fixture f;
  CHECK_THROWS_AS(checkpointed([](at::TensorList) -> at::Tensor { throw std::runtime_error("no"); }, {f.x}),
                  std::runtime_error);
  int runs = 0;
  const at::Tensor result = checkpointed(
      [&runs](at::TensorList in) {
        if (++runs == 2) throw std::runtime_error("no more");
        return in[0] * 2;
      },
      {f.x});
  CHECK_THROWS_WITH(result.sum().backward(), Catch::Matchers::Contains("no more"));
}
