// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/anatomy_sizes.h"

#include "plugins/support/test_call.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using support::testing::Given;
using support::testing::TestHost;

const std::string kSlots = R"({"slots": [{"name": "liver", "label": 1},
  {"name": "hepatic tumor", "label": 26, "tumour": true}, {"name": "lung tumor", "label": 23, "tumour": true}]})";

/// What the host tells in training, of voxels that are so long.
std::string told(double mm) {
  return "{\"spacing_mm\": [" + std::to_string(mm) + R"(, 1, 1],
    "label_volumes_ml": {"1": [0.002, 0.004, 0.008], "26": [0, 1], "7": [3, 4]}})";
}

std::vector<float> sizes(TestHost& host, const support::testing::Tensors& tensors, const std::string& params) {
  const medgen_create_t request = TestHost::create(kSlots);
  AnatomySizes component{sdk::Create(request)};
  const Given given(tensors, params);
  const at::Tensor context =
      host.call([&](const sdk::Context& call, sdk::Outputs& out) { component.encode(call, given.binds(), out); })
          .at("context");
  CHECK(context.dim() == 3);
  CHECK(context.size(2) == 3);
  return {context.const_data_ptr<float>(), context.const_data_ptr<float>() + context.numel()};
}

std::vector<float> asked(const std::string& anatomy_sizes, double draw = 0.25) {
  TestHost host;
  host.noise = [&](at::IntArrayRef shape) { return at::full(shape, draw); };
  return sizes(host, {}, R"({"anatomy_sizes": )" + anatomy_sizes + "}");
}

}  // namespace

TEST_CASE("anatomy sizes: what is not given is drawn, tumours only come when they are asked for", "[unit][maisi]") {
  CHECK(asked("{}") == std::vector<float>{0.25F, -1, -1});
  CHECK(asked(R"({"liver": 0.75, "hepatic tumor": 0.5})") == std::vector<float>{0.75F, 0.5F, -1});
  CHECK(asked(R"({"liver": -1})") == std::vector<float>{-1, -1, -1});
}

TEST_CASE("anatomy sizes: in training they are measured, each case's share of smaller ones", "[unit][maisi]") {
  TestHost host;
  at::Tensor mask = at::zeros({2, 1, 4, 4, 4});
  mask.select(0, 0).select(2, 0).fill_(1);      // 16 voxels
  mask.select(0, 1).narrow(1, 0, 1).fill_(26);  // 16 voxels
  const auto at_spacing = [&](double mm) { return sizes(host, {{"mask", mask}}, told(mm)); };
  CHECK(at_spacing(0.25) == std::vector<float>{0.5F, -1, -1, -1, 0.004F, -1});
  CHECK(at_spacing(0.375)[0] == Approx(0.75));
  CHECK(at_spacing(0.1)[0] == 0);
  CHECK(at_spacing(9)[0] == 1);
}

TEST_CASE("anatomy sizes: a label that no case of the training had is as if it were missing", "[unit][maisi]") {
  TestHost host;
  CHECK(sizes(host, {{"mask", at::full({1, 1, 4, 4, 4}, 23)}}, told(1)) == std::vector<float>{-1, -1, -1});
}

TEST_CASE("anatomy sizes: of a patch they are those of its case", "[unit][maisi]") {
  TestHost host;
  at::Tensor whole = at::zeros({1, 1, 4, 4, 4});
  whole.select(0, 0).select(2, 0).fill_(1);  // 16 voxels of 0.00025 ml
  const at::Tensor patch = at::zeros({1, 1, 2, 2, 2});
  CHECK(sizes(host, {{"mask", patch}}, told(0.25))[0] == -1);
  CHECK(sizes(host, {{"mask", patch}, {"whole_mask", whole}}, told(0.25))[0] == 0.5F);
}

TEST_CASE("anatomy sizes: the null condition has none", "[unit][maisi]") {
  TestHost host;
  host.flags = MEDGEN_CALL_UNCONDITIONAL;
  CHECK(sizes(host, {}, R"({"anatomy_sizes": {"liver": 0.5}})") == std::vector<float>{-1, -1, -1});
}

TEST_CASE("anatomy sizes: unknown names, other numbers and two tumours are refused", "[unit][maisi]") {
  CHECK_THROWS_WITH(asked(R"({"lever": 0.5})"), Contains("'lever'"));
  CHECK_THROWS_WITH(asked(R"({"liver": 1.5})"), Contains("0 to 1"));
  CHECK_THROWS_WITH(asked(R"({"liver": "big"})"), Contains("0 to 1"));
  CHECK_THROWS_WITH(asked(R"({"hepatic tumor": 0.5, "lung tumor": 0.5})"), Contains("2 tumours"));
}

TEST_CASE("anatomy sizes: nothing is measured that nothing is known of", "[unit][maisi]") {
  const medgen_create_t request = TestHost::create(kSlots);
  AnatomySizes component{sdk::Create(request)};
  TestHost host;
  const auto encode = [&](const std::string& params, const char* problem) {
    const Given given({{"mask", at::zeros({1, 1, 2, 2, 2})}}, params);
    host.call([&](const sdk::Context& call, sdk::Outputs& out) {
      CHECK_THROWS_WITH(component.encode(call, given.binds(), out), Contains(problem));
    });
  };
  encode(R"({"spacing_mm": [1, 1, 1]})", "label_volumes_ml");
  encode(R"({"label_volumes_ml": {}})", "spacing_mm");
}

}  // namespace medgen::maisi
