// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/trainers.h"

#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"
#include "plugins/support/training/step.h"

#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

using support::emit_scalar;
using support::parsed_options;

ControlNet* controlnet_of(std::span<const sdk::TrainPeer> peers) {
  for (const sdk::TrainPeer& peer : peers) {
    if (peer.role == "controlnet") return &peer.as<ControlNet>();
  }
  return nullptr;
}

std::vector<support::TrainedModules::Member> members_of(UnetComponent& unet, bool train_unet,
                                                        std::span<const sdk::TrainPeer> peers) {
  std::vector<support::TrainedModules::Member> members{{"", &unet.network(), train_unet, nullptr}};
  for (const sdk::TrainPeer& peer : peers) {
    // A new ControlNet is a copy of the U-Net's way down.
    if (peer.role == "controlnet")
      members.push_back({"controlnet", &peer.as<ControlNet>().network(), peer.trained, &unet.network()});
  }
  return members;
}

}  // namespace

UnetTrainer::UnetTrainer(UnetComponent& component, const sdk::Context& context, std::string_view options_json,
                         std::span<const sdk::TrainPeer> peers)
    : component_(&component),
      controlnet_(controlnet_of(peers)),
      l2_(parsed_options(options_json).value("loss", "l1") == "l2"),
      modules_(members_of(component, parsed_options(options_json).value("train_denoiser", true), peers),
               support::TrainingOptions::read(options_json, component.compute()), context.seed()) {}

void UnetTrainer::step(const sdk::Context&, const sdk::Binds& batch, sdk::Outputs& out) {
  UnetInputs inputs = component_->inputs(batch);
  if (controlnet_ != nullptr) {
    ControlNetResiduals residuals = controlnet_->network().forward(controlnet_->inputs(batch));
    inputs.down_block_additional_residuals = std::move(residuals.down);
    inputs.mid_block_additional_residual = std::move(residuals.mid);
  }
  const at::Tensor target = support::float_input(batch, "target", component_->device());
  const at::Tensor predicted = component_->network().forward(inputs);
  // Broadcasting would train on something else without a word.
  support::require(predicted.sizes() == target.sizes(), "target has the shape {}, the network gives {}",
                   fmt::join(target.sizes(), "x"), fmt::join(predicted.sizes(), "x"));
  const at::Tensor difference = predicted - target;
  at::Tensor each = l2_ ? difference.square() : difference.abs();
  if (const at::Tensor weight = support::optional_input(batch, "weight", component_->device()); weight.defined())
    each = each * weight;
  const at::Tensor loss = each.mean();
  modules_.backward(loss);
  emit_scalar(out, "loss", loss);
}

void UnetTrainer::apply(const sdk::Context&, double learning_rate) {
  modules_.apply(learning_rate);
}

void UnetTrainer::save(const sdk::Context&, std::uint32_t what, sdk::Outputs& out) {
  modules_.save(what, out);
}

void UnetTrainer::load(const sdk::Context&, std::uint32_t what, const sdk::Binds& in) {
  modules_.load(what, in);
}

}  // namespace medgen::maisi
