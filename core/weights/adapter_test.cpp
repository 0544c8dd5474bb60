// SPDX-License-Identifier: Apache-2.0
#include "core/weights/adapter.h"

#include "core/base/error.h"
#include "core/base/test_folder.h"
#include "core/weights/safetensors.h"

#include <catch2/catch.hpp>

#include <vector>

using namespace medgen;
using Catch::Matchers::Contains;

namespace {

Tensor tensor(std::vector<float> values, Shape shape) {
  return Tensor::from<float>(std::span<const float>(values), std::move(shape)).clone();
}

Adapter adapter() {
  return {{"denoiser", std::string(64, 'a'), 4, 2},
          {{"q.lora_A", tensor({1, 0, 2, 0, 1, 0}, {2, 3})}, {"q.lora_B", tensor({1, 2, 0, -1}, {2, 2})}}};
}

TensorMap network() {
  return {{"q.weight", tensor({1, 1, 1, 1, 1, 1}, {2, 3})}, {"q.bias", tensor({5, 6}, {2})}};
}

std::vector<float> values(const Tensor& t) {
  const auto span = t.values<float>();
  return {span.begin(), span.end()};
}

}  // namespace

TEST_CASE("adapter: weights become W + strength alpha / rank B A, and nothing else changes", "[unit][weights]") {
  const TensorMap base = network();
  TensorMap weights = base;
  merge_adapter(weights, adapter(), 1);
  CHECK(values(weights["q.weight"]) == std::vector<float>{3, 5, 5, 1, -1, 1});  // 1 + 2 B A
  CHECK(values(weights["q.bias"]) == std::vector<float>{5, 6});
  CHECK(values(base.at("q.weight")) == std::vector<float>(6, 1));  // lent memory stays as it was
  weights = base;
  merge_adapter(weights, adapter(), 0);
  CHECK(values(weights["q.weight"]) == std::vector<float>(6, 1));
}

TEST_CASE("adapter: half-width weights and kernels are merged in float32", "[unit][weights]") {
  TensorMap weights{{"q.weight", tensor({1, 1, 1, 1, 1, 1}, {2, 1, 3, 1, 1}).to(DType::F16)}};
  merge_adapter(weights, adapter(), 0.5);
  CHECK(weights["q.weight"].dtype() == DType::F32);
  CHECK(weights["q.weight"].shape() == Shape{2, 1, 3, 1, 1});
  CHECK(values(weights["q.weight"]) == std::vector<float>{2, 3, 3, 1, 0, 1});
}

TEST_CASE("adapter: a file says what it is for", "[unit][weights]") {
  const TestFolder folder;
  write_adapter(folder.path / "a.safetensors", adapter());
  const Adapter read = read_adapter(folder.path / "a.safetensors");
  CHECK(read.facts.role == "denoiser");
  CHECK(read.facts.base_sha256 == std::string(64, 'a'));
  CHECK(read.facts.alpha == 4);
  CHECK(read.facts.rank == 2);
  CHECK(values(read.tensors.at("q.lora_B")) == values(adapter().tensors.at("q.lora_B")));
}

TEST_CASE("adapter: other files and other networks are refused", "[unit][weights]") {
  const TestFolder folder;
  write_safetensors(folder.path / "weights.safetensors", network());
  CHECK_THROWS_WITH(read_adapter(folder.path / "weights.safetensors"), Contains("is no adapter"));
  Adapter other = adapter();
  other.facts.rank = 3;
  write_adapter(folder.path / "rank.safetensors", other);
  CHECK_THROWS_WITH(read_adapter(folder.path / "rank.safetensors"), Contains("rank 3"));
  TensorMap weights{{"k.weight", tensor({1}, {1})}};
  CHECK_THROWS_WITH(merge_adapter(weights, adapter(), 1), Contains("does not have"));
  weights = {{"q.weight", tensor({1, 1, 1, 1}, {2, 2})}};
  CHECK_THROWS_WITH(merge_adapter(weights, adapter(), 1), Contains("the network has 2x2"));
  Adapter half = adapter();
  half.tensors.erase("q.lora_B");
  weights = network();
  CHECK_THROWS_WITH(merge_adapter(weights, half, 1), Contains("second half"));
  CHECK(values(weights["q.weight"]) == std::vector<float>(6, 1));
}
