// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/maisi/networks/patch_discriminator.h"
#include "plugins/support/nn/winograd.h"
#include "tests/golden/maisi/configs.h"
#include "tests/golden/support/golden.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <catch2/catch.hpp>

#include <iostream>

// Small networks, filled by the fixtures' rule, against outputs recorded from MONAI 1.6.1 (fp32, CPU).

namespace medgen::maisi {
namespace {

using medgen::golden::fill_by_rule;
using medgen::golden::read_fixture;
using medgen::golden::Tensors;

constexpr double kTolerance = 1e-4;
constexpr double kHalfTolerance = 1e-2;

/// Of autoencoders, every map of which is kept in bfloat16: more where their convolutions are multiplied in it too.
double autoencoder_half_tolerance() {
  return nn::prefers_float(at::kBFloat16) ? kHalfTolerance : 1.25e-2;
}

void check_close(const std::string& what, const at::Tensor& got, const at::Tensor& want,
                 double tolerance = kTolerance) {
  INFO(what);
  const bool half = tolerance > kTolerance;
  const double error = half ? medgen::golden::relative_l2(got, want) : medgen::golden::relative_error(got, want);
  std::cout << what << (half ? ": relative L2 " : ": max diff / max ") << error << "\n";
  CHECK(error <= tolerance);
}

/// Label map (N, 1, ...) to its eight bit planes, least significant first.
at::Tensor bit_planes(const at::Tensor& label) {
  std::vector<at::Tensor> planes;
  for (int64_t bit = 0; bit < 8; ++bit) planes.push_back(label.bitwise_right_shift(bit).bitwise_and(1).to(at::kFloat));
  return at::cat(planes, 1);
}

std::string family(bool rflow) {
  return rflow ? "rflow" : "ddpm";
}

UnetInputs unet_inputs(const Tensors& fixture) {
  const auto get = [&](const std::string& name) {
    const auto found = fixture.find("in." + name);
    return found == fixture.end() ? at::Tensor() : found->second;
  };
  return {.x = get("x"),
          .timesteps = get("timesteps"),
          .context = get("context"),
          .class_labels = get("class_labels"),
          .down_block_additional_residuals = {},
          .mid_block_additional_residual = {},
          .top_region_index_tensor = get("top_region_index_tensor"),
          .bottom_region_index_tensor = get("bottom_region_index_tensor"),
          .spacing_tensor = get("spacing_tensor")};
}

ControlNetInputs controlnet_inputs(const Tensors& fixture, bool rflow) {
  return {
      .x = fixture.at("in.x"),
      .timesteps = fixture.at("in.timesteps"),
      .controlnet_cond = bit_planes(fixture.at("in.label")),
      .context = {},
      .class_labels = rflow ? read_fixture("maisi/unet_rflow_small.safetensors").at("in.class_labels") : at::Tensor()};
}

/// Weights by the rule, in the precision that the tolerance stands for.
void prepare(nn::Module& network, uint64_t seed, double tolerance) {
  fill_by_rule(network, seed);
  if (tolerance > kTolerance) network.set_precision(at::kBFloat16);
}

}  // namespace

TEST_CASE("maisi: the image autoencoder gives the published latent and reconstruction", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const double tolerance = GENERATE(as<double>{}, kTolerance, autoencoder_half_tolerance());
  const Tensors fixture = read_fixture("maisi/autoencoder_small.safetensors");
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(golden::autoencoder(false)));
  prepare(network, 1234, tolerance);
  const auto posterior = network.encode(fixture.at("in.x"));
  check_close("autoencoder mean", posterior.mean, fixture.at("out.z_mu"), tolerance);
  check_close("autoencoder sigma", posterior.sigma, fixture.at("out.z_sigma"), tolerance);
  check_close("autoencoder image", network.decode(fixture.at("out.z_mu")), fixture.at("out.recon"), tolerance);
}

TEST_CASE("maisi: the mask autoencoder gives the published latent and logits", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const double tolerance = GENERATE(as<double>{}, kTolerance, autoencoder_half_tolerance());
  const Tensors fixture = read_fixture("maisi/mask_autoencoder_small.safetensors");
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(golden::mask_autoencoder(false)));
  prepare(network, 1234, tolerance);
  const auto posterior = network.encode(fixture.at("in.x"));
  check_close("mask autoencoder mean", posterior.mean, fixture.at("out.z_mu"), tolerance);
  check_close("mask autoencoder sigma", posterior.sigma, fixture.at("out.z_sigma"), tolerance);
  check_close("mask autoencoder logits", network.decode(fixture.at("out.z_mu")), fixture.at("out.logits"), tolerance);
}

TEST_CASE("maisi: the image U-Net gives the published prediction", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const bool rflow = GENERATE(false, true);
  const double tolerance = GENERATE(kTolerance, kHalfTolerance);
  const Tensors fixture = read_fixture("maisi/unet_" + family(rflow) + "_small.safetensors");
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(golden::unet(false, rflow)));
  prepare(network, 1234, tolerance);
  check_close("unet " + family(rflow), network.forward(unet_inputs(fixture)), fixture.at("out.out"), tolerance);
}

TEST_CASE("maisi: the ControlNet gives the published residuals", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const bool rflow = GENERATE(false, true);
  const double tolerance = GENERATE(kTolerance, kHalfTolerance);
  const Tensors fixture = read_fixture("maisi/controlnet_" + family(rflow) + "_small.safetensors");
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(golden::controlnet(false, rflow)));
  prepare(network, 777, tolerance);
  const ControlNetResiduals residuals = network.forward(controlnet_inputs(fixture, rflow));
  REQUIRE(residuals.down.size() == 12);
  for (size_t i = 0; i < residuals.down.size(); ++i) {
    const std::string name = "down" + std::to_string(i);
    check_close("controlnet " + family(rflow) + " " + name, residuals.down[i], fixture.at("out." + name), tolerance);
  }
  check_close("controlnet " + family(rflow) + " mid", residuals.mid, fixture.at("out.mid"), tolerance);
}

TEST_CASE("maisi: the last ControlNet residual also reaches the middle block, as in the released code",
          "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const bool rflow = GENERATE(false, true);
  const Tensors fixture = read_fixture("maisi/unet_" + family(rflow) + "_small.safetensors");
  const Tensors control = read_fixture("maisi/controlnet_" + family(rflow) + "_small.safetensors");
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(golden::unet(false, rflow)));
  fill_by_rule(network, 1234);
  UnetInputs inputs = unet_inputs(fixture);
  for (int i = 0; i < 12; ++i) {
    inputs.down_block_additional_residuals.push_back(control.at("out.down" + std::to_string(i)));
  }
  inputs.mid_block_additional_residual = control.at("out.mid");
  check_close("unet " + family(rflow) + " with residuals", network.forward(inputs),
              fixture.at("out.out_with_controlnet"));
}

TEST_CASE("maisi: the mask U-Net gives the published prediction", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const double tolerance = GENERATE(kTolerance, kHalfTolerance);
  const Tensors fixture = read_fixture("maisi/mask_unet_small.safetensors");
  DiffusionModelUNet network(DiffusionModelUNetConfig::from_json(golden::mask_unet(false)));
  prepare(network, 1234, tolerance);
  check_close("mask unet", network.forward(unet_inputs(fixture)), fixture.at("out.out"), tolerance);
}

TEST_CASE("maisi: the discriminator gives the published logits", "[golden][maisi]") {
  const at::NoGradGuard no_grad;
  const double tolerance = GENERATE(kTolerance, kHalfTolerance);
  const Tensors fixture = read_fixture("maisi/discriminator_small.safetensors");
  PatchDiscriminator network(PatchDiscriminatorConfig::from_json(golden::discriminator(false)));
  prepare(network, 1234, tolerance);
  check_close("discriminator", network.forward(fixture.at("in.x")).back(), fixture.at("out.out"), tolerance);
}

}  // namespace medgen::maisi
