// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/lpips.h"
#include "tests/golden/support/golden.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <fstream>

// The perceptual networks against the published packages (make_lpips.py).

namespace medgen::maisi {
namespace {

using medgen::golden::fill_by_rule;

nlohmann::json recorded(const std::string& network, const std::string& kind) {
  static const auto values = nlohmann::json::parse(std::ifstream(MEDGEN_SOURCE_DIR "/tests/golden/maisi/lpips.json"));
  return values[network][kind];
}

at::Tensor image(std::uint64_t seed, at::IntArrayRef shape) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

void check(Lpips& network, const std::string& name, const std::string& kind, at::IntArrayRef shape) {
  INFO(name << " " << kind);
  const nlohmann::json want = recorded(name, kind);
  const at::Tensor x = image(20, shape).requires_grad_(true), y = image(21, shape);
  const at::Tensor distance = network.distance(x, y);
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    CHECK(distance[n].item<double>() ==
          Approx(want["distance"][static_cast<std::size_t>(n)].get<double>()).epsilon(2e-4));
  }
  distance.mean().backward();
  CHECK(x.grad().norm().item<double>() == Approx(want["gradient_norm"].get<double>()).epsilon(1e-4));
}

}  // namespace

TEST_CASE("maisi: perceptual distances and their gradients are the published ones", "[golden][maisi]") {
  Lpips squeeze(Lpips::Network::SqueezeNet), alexnet(Lpips::Network::ShiftTolerantAlexNet);
  for (const auto& [name, network] : {std::pair{"squeeze", &squeeze}, {"st_alex", &alexnet}}) {
    fill_by_rule(*network, 1234);
    check(*network, name, "grey", {2, 1, 33, 40});
    check(*network, name, "colour", {1, 3, 24, 21});
  }
}

TEST_CASE("maisi: an image has no perceptual distance from itself, nor a gradient", "[golden][maisi]") {
  Lpips squeeze(Lpips::Network::SqueezeNet);
  fill_by_rule(squeeze, 1234);
  const at::Tensor x = image(20, {1, 1, 24, 24}).requires_grad_(true);
  const at::Tensor distance = squeeze.distance(x, x.detach());
  CHECK(distance.item<float>() == 0);
  distance.sum().backward();
  CHECK(x.grad().abs().max().item<float>() == 0);
}

TEST_CASE("maisi: perceptual networks refuse what they cannot compare", "[golden][maisi]") {
  using Catch::Matchers::Contains;
  Lpips squeeze(Lpips::Network::SqueezeNet), alexnet(Lpips::Network::ShiftTolerantAlexNet);
  squeeze.initialize(1);
  alexnet.initialize(1);
  const auto distance = [](Lpips& network, at::IntArrayRef x, at::IntArrayRef y) {
    return network.distance(at::randn(x), at::randn(y));
  };
  CHECK(distance(squeeze, {1, 1, 17, 17}, {1, 1, 17, 17}).numel() == 1);
  CHECK(distance(alexnet, {1, 1, 21, 21}, {1, 1, 21, 21}).numel() == 1);
  CHECK_THROWS_WITH(distance(squeeze, {1, 1, 16, 64}, {1, 1, 16, 64}), Contains("at least 17"));
  CHECK_THROWS_WITH(distance(alexnet, {1, 1, 64, 20}, {1, 1, 64, 20}), Contains("at least 21"));
  CHECK_THROWS_WITH(distance(squeeze, {1, 2, 32, 32}, {1, 2, 32, 32}), Contains("wanted"));
  CHECK_THROWS_WITH(distance(squeeze, {1, 1, 32, 32}, {1, 1, 32, 33}), Contains("alike"));
  CHECK_THROWS_WITH(distance(squeeze, {1, 32, 32}, {1, 32, 32}), Contains("wanted"));
}

}  // namespace medgen::maisi
