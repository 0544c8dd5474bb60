// SPDX-License-Identifier: Apache-2.0
#include "core/weights/weight_store.h"

#include <catch2/catch.hpp>

#include <array>
#include <thread>

using namespace medgen;

namespace {

TensorMap two_weights() {
  TensorMap tensors;
  const std::array numbers{1.0F, 2.0F, 3.0F, 4.0F, 5.0F, 6.0F};
  tensors["b.weight"] = Tensor::from<float>(numbers, {2, 3});
  tensors["a.bias"] = Tensor::scalar(7.0F);
  return tensors;
}

medgen_str_t str(const char* text) {
  return {text, std::char_traits<char>::length(text)};
}

}  // namespace

TEST_CASE("weight store: a component sees every name, type and shape", "[unit][weights]") {
  WeightStore store(two_weights());
  const medgen_weights_t weights = store.abi();
  CHECK(weights.struct_size == sizeof(medgen_weights_t));
  REQUIRE(weights.count(weights.host) == 2);
  medgen_weight_info_t info{};
  info.struct_size = sizeof(info);
  REQUIRE(weights.info(weights.host, 1, &info) == MEDGEN_OK);
  CHECK(std::string_view(info.name.ptr, info.name.len) == "b.weight");
  CHECK(info.ndim == 2);
  CHECK(info.shape[0] == 2);
  CHECK(info.shape[1] == 3);
  CHECK(info.dtype.code == MEDGEN_DTYPE_FLOAT);
  CHECK(info.dtype.bits == 32);
}

TEST_CASE("weight store: weights are lent without copying", "[unit][weights]") {
  WeightStore store(two_weights());
  const medgen_weights_t weights = store.abi();
  medgen_tensor_t tensor{};
  REQUIRE(weights.get(weights.host, str("b.weight"), &tensor) == MEDGEN_OK);
  CHECK(tensor.data == store.tensors().at("b.weight").data());
  CHECK(tensor.device.type == MEDGEN_DEVICE_CPU);
  CHECK(tensor.strides[0] == 3);
  CHECK(static_cast<const float*>(tensor.data)[5] == 6.0F);
}

TEST_CASE("weight store: names nobody asked for are reported", "[unit][weights]") {
  WeightStore store(two_weights());
  const medgen_weights_t weights = store.abi();
  CHECK(store.unused() == std::vector<std::string>{"a.bias", "b.weight"});
  medgen_tensor_t tensor{};
  weights.get(weights.host, str("b.weight"), &tensor);
  weights.get(weights.host, str("b.weight"), &tensor);
  CHECK(store.unused() == std::vector<std::string>{"a.bias"});
}

TEST_CASE("weight store: wrong calls return a status", "[unit][weights]") {
  WeightStore store(two_weights());
  const medgen_weights_t weights = store.abi();
  medgen_tensor_t tensor{};
  medgen_weight_info_t info{};
  CHECK(weights.info(weights.host, 0, &info) == MEDGEN_E_INVALID);  // struct_size 0
  info.struct_size = sizeof(info);
  CHECK(weights.info(weights.host, 2, &info) == MEDGEN_E_NOT_FOUND);
  CHECK(weights.info(weights.host, ~std::uint64_t{0}, &info) == MEDGEN_E_NOT_FOUND);
  CHECK(weights.info(weights.host, 0, nullptr) == MEDGEN_E_INVALID);
  CHECK(weights.get(weights.host, str("b.weigh"), &tensor) == MEDGEN_E_NOT_FOUND);
  CHECK(weights.get(weights.host, {nullptr, 0}, &tensor) == MEDGEN_E_NOT_FOUND);
  CHECK(weights.get(weights.host, {nullptr, 3}, &tensor) == MEDGEN_E_INVALID);
  CHECK(weights.get(weights.host, str("b.weight"), nullptr) == MEDGEN_E_INVALID);
}

TEST_CASE("weight store: components may ask from many threads at once", "[unit][weights]") {
  WeightStore store(two_weights());
  const medgen_weights_t weights = store.abi();
  std::array<int, 4> found{};
  std::vector<std::thread> threads;
  for (int& count : found) {
    threads.emplace_back([&weights, &count] {
      medgen_tensor_t tensor{};
      for (int i = 0; i < 1000; ++i) count += weights.get(weights.host, str("a.bias"), &tensor) == MEDGEN_OK ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(found == std::array{1000, 1000, 1000, 1000});
}
