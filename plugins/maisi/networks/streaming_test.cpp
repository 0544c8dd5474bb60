// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/support/nn/products.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace medgen;
using maisi::AutoencoderKlMaisi;
using maisi::AutoencoderKlMaisiConfig;
using nlohmann::json;

namespace {

json config(bool transposed, bool attention) {
  return {{"spatial_dims", 3},
          {"in_channels", 1},
          {"out_channels", 2},
          {"latent_channels", 3},
          {"num_channels", {8, 8, 16}},
          {"num_res_blocks", {1, 2, 1}},
          {"attention_levels", {false, false, attention}},
          {"norm_num_groups", 4},
          {"with_encoder_nonlocal_attn", attention},
          {"with_decoder_nonlocal_attn", attention},
          {"use_convtranspose", transposed}};
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / b.norm().item<double>();
}

/// The released way: tensors of the whole volume, which is what gradients need.
at::Tensor whole_decode(const AutoencoderKlMaisi& network, const at::Tensor& z) {
  const at::AutoGradMode gradients(true);
  return network.decode(z).detach();
}

nn::StreamOptions slabs(std::int64_t bytes, std::int64_t memory = 0, std::size_t parts = 1) {
  nn::StreamOptions options;
  options.slab_bytes = bytes;
  options.memory = memory;
  options.devices = std::vector<at::Device>(parts, at::kCPU);
  return options;
}

}  // namespace

TEST_CASE("autoencoder: streamed, it is the whole network, for any length of the axes", "[unit][maisi]") {
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(config(GENERATE(false, true), GENERATE(false, true))));
  network.initialize(7);
  const auto size = GENERATE(std::vector<std::int64_t>{1, 3, 5, 3, 4}, std::vector<std::int64_t>{2, 3, 1, 4, 2});
  const at::Tensor z = at::randn(size);
  const at::Tensor expected = whole_decode(network, z);
  const at::Tensor x = at::randn({1, 1, 13, 9, 18});
  const at::Tensor mean = network.encode(x).mean.detach();
  const at::NoGradGuard no_grad;
  REQUIRE(relative(network.decode(z), expected) < 1e-5);
  REQUIRE(relative(network.encode(x).mean, mean) < 1e-5);
}

TEST_CASE("autoencoder: neither slabs nor files nor devices change the result", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(config(GENERATE(false, true), false)));
  network.initialize(7);
  const bool narrow = GENERATE(false, true);
  if (narrow) network.set_precision(at::kBFloat16);
  // Sums in float32 differ in the last digit from slab to slab, and now and then round to another bfloat16.
  const bool rounds_sums = narrow && nn::product_type(at::kBFloat16, at::kCPU) == at::kFloat;
  const double same = rounds_sums ? 2e-3 : 1e-5;
  const at::Tensor z = at::randn({1, 3, 7, 5, 6});
  const at::Tensor x = at::randn({1, 1, 25, 18, 22});
  const at::Tensor decoded = network.decode(z);
  const auto encoded = network.encode(x);
  for (const std::int64_t bytes : {1, 3'000, 10'000, 40'000, 1 << 30}) {
    CAPTURE(bytes);
    REQUIRE(relative(network.decode(z, slabs(bytes)), decoded) < same);
    REQUIRE(relative(network.encode(x, slabs(bytes)).sigma, encoded.sigma) < same);
  }
  REQUIRE(network.decode(z, slabs(10'000, 1)).equal(network.decode(z, slabs(10'000))));
  REQUIRE(relative(network.decode(z, slabs(10'000, 0, 3)), decoded) < same);
  // Each device has other slabs for the convolutions of stride 2, which are LibTorch's.
  REQUIRE(relative(network.encode(x, slabs(10'000, 0, 3)).sigma, encoded.sigma) < (narrow ? 2e-3 : same));
}

TEST_CASE("autoencoder: the plan of a decode tells its work, and less memory means more in files", "[unit][maisi]") {
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(config(false, false)));
  const std::vector<std::int64_t> image{1, 2, 32, 32, 32};
  const auto cost = network.decode_cost({1, 3, 8, 8, 8}, image, slabs(20'000));
  const auto double_cost = network.decode_cost({1, 3, 16, 8, 8}, {1, 2, 64, 32, 32}, slabs(20'000));
  REQUIRE(cost.flops > 0);
  REQUIRE(double_cost.flops == Approx(2 * cost.flops));
  REQUIRE(cost.files == 0);
  const auto tight = network.decode_cost({1, 3, 8, 8, 8}, image, slabs(20'000, cost.memory / 4));
  REQUIRE(tight.memory < cost.memory);
  REQUIRE(tight.files > 0);
}

TEST_CASE("autoencoder: what is made of each plane is what is made of the whole image", "[unit][maisi]") {
  const bool streamed = GENERATE(false, true);
  const at::AutoGradMode gradients(!streamed);
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(config(false, false)));
  network.initialize(7);
  const at::Tensor z = at::randn({1, 3, 7, 5, 6});
  const at::Tensor expected = network.decode(z).detach().argmax(1, /*keepdim=*/true).to(at::kFloat);
  const auto largest = [](const at::Tensor& planes, const at::Tensor& out) {
    out.copy_(planes.detach().argmax(1, /*keepdim=*/true));
  };
  for (const std::size_t parts : {1, 3}) {
    const at::Tensor out = at::full({1, 1, 28, 20, 24}, -1.0);
    network.decode_into(z, out, slabs(10'000, 0, parts), largest);
    REQUIRE(out.equal(expected));
  }
}

TEST_CASE("autoencoder: the plan of a decode counts what is left of its result", "[unit][maisi]") {
  json wide = config(false, false);
  wide["out_channels"] = 125;
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(wide));
  const std::int64_t voxels = std::int64_t{64} * 64 * 64;
  const auto memory = [&](std::int64_t channels) {
    return network.decode_cost({1, 3, 16, 16, 16}, {1, channels, 64, 64, 64}, slabs(20'000)).memory;
  };
  REQUIRE(memory(125) >= 4 * 125 * voxels);
  REQUIRE(memory(1) < memory(125) / 4);
  REQUIRE(memory(1) >= 4 * voxels);
}
