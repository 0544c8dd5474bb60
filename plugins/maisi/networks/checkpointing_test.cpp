// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"

#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <map>

// Activations that are computed again on the way back change no bit of a gradient.

namespace medgen::maisi {
namespace {

using nlohmann::json;
using Gradients = std::map<std::string, at::Tensor>;

json backbone(bool updown) {
  return {{"spatial_dims", 3},      {"in_channels", 2},         {"num_channels", {4, 8}},
          {"num_res_blocks", 2},    {"norm_num_groups", 2},     {"attention_levels", {false, true}},
          {"num_head_channels", 4}, {"resblock_updown", updown}};
}

json with(json config, const json& more) {
  config.update(more);
  return config;
}

/// A U-Net behind its ControlNet; conv2 and others start at zero, which would hide what lies behind them.
struct Networks {
  DiffusionModelUNetMaisi unet;
  ControlNetMaisi controlnet;

  explicit Networks(bool updown)
      : unet(DiffusionModelUNetMaisiConfig::from_json(with(backbone(updown), {{"out_channels", 2}}))),
        controlnet(ControlNetMaisiConfig::from_json(
            with(backbone(updown),
                 {{"conditioning_embedding_in_channels", 1}, {"conditioning_embedding_num_channels", {3, 4}}}))) {
    for (nn::Module* network : {static_cast<nn::Module*>(&unet), static_cast<nn::Module*>(&controlnet)}) {
      network->initialize(5);
      const at::NoGradGuard no_grad;
      for (const auto& [name, parameter] : network->parameters()) parameter->value.add_(0.02);
    }
  }

  Gradients gradients(bool unet_learns, bool checkpoint, at::ScalarType compute, const at::Tensor& x,
                      const at::Tensor& condition) {
    Gradients result;
    for (nn::Module* network : {static_cast<nn::Module*>(&unet), static_cast<nn::Module*>(&controlnet)}) {
      network->checkpoint_activations(checkpoint);
      network->set_compute_dtype(compute);
      for (const auto& [name, parameter] : network->parameters()) {
        parameter->value.mutable_grad().reset();
        parameter->value.requires_grad_(unet_learns || network == &controlnet);
      }
    }
    const at::Tensor time = at::rand({x.size(0)}).zero_().add(300);
    ControlNetInputs control;
    control.x = x;
    control.timesteps = time;
    control.controlnet_cond = condition;
    ControlNetResiduals residuals = controlnet.forward(control);
    UnetInputs inputs;
    inputs.x = x;
    inputs.timesteps = time;
    inputs.down_block_additional_residuals = residuals.down;
    inputs.mid_block_additional_residual = residuals.mid;
    const at::Tensor out = unet.forward(inputs);
    result["out"] = out.detach();
    out.square().mean().backward();
    for (nn::Module* network : {static_cast<nn::Module*>(&unet), static_cast<nn::Module*>(&controlnet)}) {
      for (const auto& [name, parameter] : network->parameters()) {
        if (parameter->value.grad().defined())
          result[(network == &unet ? "unet." : "controlnet.") + name] = parameter->value.grad().clone();
      }
    }
    return result;
  }
};

}  // namespace

TEST_CASE("checkpointed activations: U-Net and ControlNet get the same gradients, joint or frozen", "[unit][maisi]") {
  const bool updown = GENERATE(false, true), joint = GENERATE(false, true);
  const at::ScalarType compute = GENERATE(at::kFloat, at::kBFloat16);
  Networks networks(updown);
  const at::Generator draw =
      at::detail::createCPUGenerator(3);  // of its own: bf16's rounding differs from draw to draw
  const at::Tensor x = at::randn({2, 2, 8, 8, 4}, draw), condition = at::rand({2, 1, 16, 16, 8}, draw);
  const Gradients want = networks.gradients(joint, false, compute, x, condition);
  const Gradients got = networks.gradients(joint, true, compute, x, condition);
  CHECK(want.count("unet.conv_in.conv.weight") == (joint ? 1U : 0U));
  CHECK(want.count("controlnet.conv_in.conv.weight") == 1);
  REQUIRE(got.size() == want.size());
  CHECK(got.at("out").equal(want.at("out")));
  // Gradients that meet are added in another order.
  const double tolerance = compute == at::kFloat ? 1e-5 : 2e-2;
  double largest = 0;
  for (const auto& [name, gradient] : want) largest = std::max(largest, gradient.norm().item<double>());
  for (const auto& [name, gradient] : want) {
    INFO(name);
    const double difference = (got.at(name) - gradient).norm().item<double>();
    CHECK(difference <= tolerance * (gradient.norm().item<double>() + 1e-3 * largest));
  }
}

}  // namespace medgen::maisi
