// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/lora.h"

#include "plugins/support/nn/layers.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

namespace medgen::support {
namespace {

using Catch::Matchers::Contains;

struct Network : nn::Module {
  Network() {
    add<nn::Linear>("to_q", 6, 4);
    add<nn::Linear>("other", 6, 4);
    add<nn::Conv>("conv", nn::ConvOptions{.in = 3, .out = 5});
  }

  at::Tensor value(const std::string& name) {
    for (const auto& named : parameters()) {
      if (named.name == name) return named.parameter->value;
    }
    return {};
  }
};

}  // namespace

TEST_CASE("lora: the rank, alpha and names of the options choose", "[unit]") {
  Network network;
  network.initialize(1);
  const auto names = [&](const LoraOptions& options) {
    std::string text;
    for (const auto& [name, tensor] : LowRankAdapters(network, options, 1).tensors()) text += name + ' ';
    return text;
  };
  CHECK(names({.rank = 2}) == "to_q.lora_A to_q.lora_B ");
  CHECK(names({.convolutions = true}) == "to_q.lora_A to_q.lora_B conv.lora_A conv.lora_B ");
  CHECK(names({.names = {"other"}}) == "other.lora_A other.lora_B ");
  CHECK_FALSE(LoraOptions::read("{}").has_value());
  CHECK(LoraOptions::read(R"({"lora": {"rank": 3}})")->alpha == 3);
}

TEST_CASE("lora: nothing changes at first, then weights are W + alpha / rank B A", "[unit]") {
  Network network;
  network.initialize(1);
  const at::Tensor base = network.value("conv.weight").clone();
  const LowRankAdapters adapters(network, {.rank = 2, .alpha = 6, .convolutions = true}, 1);
  adapters.merge();
  CHECK(network.value("conv.weight").equal(base));
  at::Tensor a, b;
  for (const auto& [name, tensor] : adapters.tensors()) {
    if (name == "conv.lora_A") a = tensor;
    if (name == "conv.lora_B") b = tensor;
  }
  CHECK(a.sizes() == at::IntArrayRef({2, 81}));
  CHECK(b.sizes() == at::IntArrayRef({5, 2}));
  b.copy_(at::randn({5, 2}));
  adapters.merge();
  CHECK(network.value("conv.weight").allclose(base + 3 * at::mm(b, a).view({5, 3, 3, 3, 3}), 1e-5, 1e-6));
}

TEST_CASE("lora: gradients reach the factors and not the weights", "[unit]") {
  Network network;
  network.initialize(1);
  const LowRankAdapters adapters(network, {.rank = 2}, 1);
  for (const auto& [name, tensor] : adapters.tensors()) tensor.requires_grad_(true);
  adapters.merge();
  network.value("to_q.weight").sum().backward();
  const auto tensors = adapters.tensors();
  CHECK(tensors[0].second.grad().abs().sum().item<double>() == 0);  // B is still zero
  CHECK(tensors[1].second.grad().abs().sum().item<double>() > 0);
}

TEST_CASE("lora: starts depend on seed and layer alone", "[unit]") {
  Network network;
  network.initialize(1);
  const auto start = [&](std::uint64_t seed) { return LowRankAdapters(network, {}, seed).tensors()[0].second; };
  CHECK(start(1).equal(start(1)));
  CHECK_FALSE(start(1).equal(start(2)));
}

TEST_CASE("lora: a network without weights, or without such layers, is refused", "[unit]") {
  Network network;
  CHECK_THROWS_WITH(LowRankAdapters(network, {}, 1), Contains("with weights"));
  network.initialize(1);
  CHECK_THROWS_WITH(LowRankAdapters(network, {.names = {"nothing"}}, 1), Contains("nothing"));
}

}  // namespace medgen::support
