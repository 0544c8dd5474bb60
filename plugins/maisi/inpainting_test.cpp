// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/inpainting.h"

#include "plugins/support/test_call.h"

#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using support::testing::Given;
using support::testing::Tensors;
using support::testing::TestHost;

at::Tensor condition(TestHost& host, const Tensors& tensors) {
  const std::string config = R"({"classes": [26, 23]})";
  const medgen_create_t request = TestHost::create(config);
  Inpainting component{sdk::Create(request)};
  const Given given(tensors);
  return host.call([&](const sdk::Context& call, sdk::Outputs& out) { component.encode(call, given.binds(), out); })
      .at("controlnet_cond");
}

}  // namespace

TEST_CASE("inpainting: the image keeps what is outside the tumours, and their planes say which", "[unit][maisi]") {
  TestHost host;
  at::Tensor mask = at::zeros({2, 1, 4, 4, 2});
  mask.select(0, 0).select(1, 1).fill_(26);
  mask.select(0, 1).select(1, 2).fill_(23);
  mask.select(0, 1).select(1, 3).fill_(1);  // an organ stays
  const at::Tensor image = at::rand({2, 1, 4, 4, 2}) + 0.1;
  const at::Tensor hole = mask.ge(20);
  const at::Tensor made = condition(host, {{"mask", mask}, {"image", image}});
  CHECK(made.sizes() == at::IntArrayRef({2, 3, 4, 4, 2}));
  CHECK(made.narrow(1, 0, 1).equal(image.masked_fill(hole, 0)));
  CHECK(made.narrow(1, 1, 1).equal(mask.eq(26).to(at::kFloat)));
  CHECK(made.narrow(1, 2, 1).equal(mask.eq(23).to(at::kFloat)));
  host.flags = MEDGEN_CALL_UNCONDITIONAL;
  const at::Tensor null = condition(host, {{"mask", mask}, {"image", image}});
  CHECK(null.narrow(1, 0, 1).equal(made.narrow(1, 0, 1)));
  CHECK(null.narrow(1, 1, 2).abs().sum().item<float>() == 0);
}

TEST_CASE("inpainting: image and mask are both needed, of one size", "[unit][maisi]") {
  TestHost host;
  const at::Tensor mask = at::zeros({1, 1, 4, 4, 2});
  CHECK_THROWS_WITH(condition(host, {{"mask", mask}}), Contains("image"));
  CHECK_THROWS_WITH(condition(host, {{"image", mask}}), Contains("mask"));
  CHECK_THROWS_WITH(condition(host, {{"mask", mask}, {"image", at::zeros({1, 1, 4, 4, 4})}}), Contains("but the mask"));
}

}  // namespace medgen::maisi
