// SPDX-License-Identifier: Apache-2.0
#include "core/weights/key_report.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>

#include <algorithm>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

const std::vector<WeightSpec> kNetwork{
    {"conv.weight", {2, 3}, DType::F32},
    {"conv.bias", {2}, DType::F32},
    {"norm.count", {}, DType::I64},
};

TensorMap weights_of(const std::vector<WeightSpec>& specs) {
  TensorMap tensors;
  for (const WeightSpec& spec : specs) tensors.emplace(spec.name, Tensor::zeros(spec.dtype, spec.shape));
  return tensors;
}

}  // namespace

TEST_CASE("key report: equal names and shapes match, at any width of real numbers", "[unit][weights]") {
  TensorMap found = weights_of(kNetwork);
  found["conv.weight"] = found["conv.weight"].to(DType::BF16);
  const KeyReport report = match_keys(kNetwork, found);
  CHECK(report.ok());
  CHECK(report.matched == 3);
  CHECK_NOTHROW(require_match(report, "file.pt"));
}

TEST_CASE("key report: a renamed tensor is missing, unexpected, and suspected", "[unit][weights]") {
  TensorMap found = weights_of(kNetwork);
  found["conv.wieght"] = found["conv.weight"];
  found["conv.weigh"] = Tensor::zeros(DType::F32, {9});  // nearer, but of another shape
  found.erase("conv.weight");
  const KeyReport report = match_keys(kNetwork, found);
  CHECK_FALSE(report.ok());
  CHECK(report.missing.size() == 1);
  CHECK(report.unexpected.size() == 2);
  CHECK_THAT(report.to_string(), Contains("conv.weight  F32 2x3  (renamed? the file has 'conv.wieght')"));
}

TEST_CASE("key report: other shapes and integers for real numbers are mismatches", "[unit][weights]") {
  TensorMap found = weights_of(kNetwork);
  found["conv.weight"] = Tensor::zeros(DType::F32, {3, 2});
  found["conv.bias"] = Tensor::zeros(DType::I32, {2});
  const KeyReport report = match_keys(kNetwork, found);
  REQUIRE(report.mismatched.size() == 2);
  CHECK_THAT(report.to_string(), Contains("conv.weight  needs F32 2x3, the file has F32 3x2"));
  CHECK_THAT(report.to_string(), Contains("conv.bias  needs F32 2, the file has I32 2"));
}

TEST_CASE("key report: patterns excuse unexpected names only", "[unit][weights]") {
  TensorMap found = weights_of(kNetwork);
  found["mid.attn.out_proj.weight"] = Tensor::scalar(1);
  found["mid.attn.out_projection"] = Tensor::scalar(1);
  found.erase("conv.bias");
  const std::vector<std::string> ignore{"*.attn.out_proj.*", "conv.*"};
  const KeyReport report = match_keys(kNetwork, found, ignore);
  REQUIRE(report.ignored.size() == 1);
  CHECK(report.ignored[0].name == "mid.attn.out_proj.weight");
  REQUIRE(report.unexpected.size() == 1);
  CHECK(report.unexpected[0].name == "mid.attn.out_projection");
  REQUIRE(report.missing.size() == 1);
  CHECK(report.missing[0].name == "conv.bias");
}

TEST_CASE("key report: fits on a screen however wrong the file is", "[unit][weights]") {
  std::vector<WeightSpec> network;
  TensorMap found;
  for (int i = 0; i < 500; ++i) {
    network.push_back({"layer." + std::to_string(i) + ".weight", {4}, DType::F32});
    found.emplace("other_block." + std::to_string(i) + ".bias", Tensor::zeros(DType::F32, {4}));
    network.push_back({"same." + std::to_string(i), {4}, DType::F32});
    found.emplace("same." + std::to_string(i), Tensor::zeros(DType::F32, {5}));
  }
  const KeyReport report = match_keys(network, found);
  const std::string text = report.to_string();
  CHECK(std::count(text.begin(), text.end(), '\n') < 40);
  CHECK_THAT(text, Contains("500 missing") && Contains("and 490 more"));
  CHECK_THROWS_WITH(require_match(report, "unet.pt for maisi.unet"),
                    Contains("unet.pt for maisi.unet: the weights do not fit"));
  CHECK_THROWS_AS(require_match(report, "x"), DataError);
}

TEST_CASE("key report: an empty file misses everything", "[unit][weights]") {
  const KeyReport report = match_keys(kNetwork, {});
  CHECK(report.missing.size() == kNetwork.size());
  CHECK(report.matched == 0);
}
