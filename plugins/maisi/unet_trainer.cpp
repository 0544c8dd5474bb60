// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/unet_trainer.h"

#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/maisi/modality.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"
#include "plugins/support/training/step.h"

#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>

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
                                                        const std::optional<support::LowRankAdapters>& adapters,
                                                        std::span<const sdk::TrainPeer> peers) {
  std::vector<support::TrainedModules::Member> members{{"", &unet.network(), train_unet && !adapters, nullptr}};
  if (adapters) members.front().adapters = adapters->tensors();
  for (const sdk::TrainPeer& peer : peers) {
    // A new ControlNet is a copy of the U-Net's way down.
    if (peer.role == "controlnet")
      members.push_back({"controlnet", &peer.as<ControlNet>().network(), peer.trained, &unet.network()});
  }
  return members;
}

/// Broadcasting would train on something else without a word.
void check_target(const at::Tensor& target, const at::Tensor& predicted) {
  support::require(predicted.sizes() == target.sizes(), "target has the shape {}, the network gives {}",
                   fmt::join(target.sizes(), "x"), fmt::join(predicted.sizes(), "x"));
}

}  // namespace

UnetLosses UnetLosses::read(std::string_view options_json) {
  const auto options = parsed_options(options_json);
  UnetLosses losses;
  losses.l2 = options.value("loss", "l1") == "l2";
  losses.modality_dropout = options.value("modality_dropout", 0.0);
  if (!options.contains("contrast")) return losses;
  const nlohmann::json& contrast = options["contrast"];
  losses.contrast.weight = contrast.value("weight", 0.01);
  losses.contrast.margin = contrast.value("margin", losses.contrast.margin);
  losses.contrast.dilation = contrast.value("dilation", losses.contrast.dilation);
  support::require(losses.contrast.dilation % 2 == 1, "contrast.dilation is {}; an odd number is wanted",
                   losses.contrast.dilation);
  return losses;
}

/// What the parts of a trainer are made from.
struct UnetTrainer::Options {
  Options(UnetComponent& component, std::string_view json, std::uint64_t run_seed)
      : losses(UnetLosses::read(json)),
        training(support::TrainingOptions::read(json, component.compute(), component.device())),
        lora(support::LoraOptions::read(json)),
        seed(run_seed),
        train_denoiser(parsed_options(json).value("train_denoiser", true)) {}

  UnetLosses losses;
  support::TrainingOptions training;
  std::optional<support::LoraOptions> lora;
  std::uint64_t seed;
  bool train_denoiser;
};

UnetTrainer::UnetTrainer(UnetComponent& component, const sdk::Context& context, std::string_view options_json,
                         std::span<const sdk::TrainPeer> peers)
    : UnetTrainer(component, context, Options(component, options_json, context.seed()), peers) {
  check(component, options_json, peers);
}

void UnetTrainer::check(UnetComponent& component, std::string_view options_json,
                        std::span<const sdk::TrainPeer> peers) {
  support::TrainingOptions::check(options_json);
  const UnetLosses losses = UnetLosses::read(options_json);
  const UnetConfig& config = component.network().config();
  support::require(losses.contrast.weight == 0 || controlnet_of(peers) != nullptr,
                   "the contrast compares label maps with and without tumours: it needs a ControlNet");
  support::require(losses.modality_dropout == 0 || config.num_class_embeds,
                   "modality_dropout is {}, but the network knows no modalities (num_class_embeds): leave it out",
                   losses.modality_dropout);
  support::require(config.dropout_cattn == 0,
                   "dropout_cattn of the network is {}, which this training does not do: make it 0",
                   config.dropout_cattn);
  if (const auto lora = support::LoraOptions::read(options_json))
    support::require_adaptable(component.network(), *lora);
  const bool recomputes = parsed_options(options_json).value("checkpoint_activations", false);
  support::require(losses.contrast.weight == 0 || !support::LoraOptions::read(options_json) || !recomputes,
                   "adapters with contrast go through the network twice with one merged weight, which "
                   "checkpoint_activations cannot compute again: leave one of the three out");
  const bool learns = parsed_options(options_json).value("train_denoiser", true) ||
                      support::LoraOptions::read(options_json) ||
                      std::any_of(peers.begin(), peers.end(), [](const sdk::TrainPeer& peer) { return peer.trained; });
  support::require(learns, "nothing to train: train_denoiser is false, and no other network learns (\"with\")");
}

UnetTrainer::UnetTrainer(UnetComponent& component, const sdk::Context&, const Options& options,
                         std::span<const sdk::TrainPeer> peers)
    : component_(&component),
      controlnet_(controlnet_of(peers)),
      losses_(options.losses),
      adapters_(options.lora ? std::optional<support::LowRankAdapters>(std::in_place, component.network(),
                                                                       *options.lora, options.seed)
                             : std::nullopt),
      modules_(members_of(component, options.train_denoiser, adapters_, peers), options.training, options.seed) {}

at::Tensor UnetTrainer::predict(const UnetInputs& inputs, const std::optional<ControlNetInputs>& control) const {
  if (!control) return component_->network().forward(inputs);
  UnetInputs guided = inputs;
  ControlNetResiduals residuals = controlnet_->network().forward(*control);
  guided.down_block_additional_residuals = std::move(residuals.down);
  guided.mid_block_additional_residual = std::move(residuals.mid);
  return component_->network().forward(guided);
}

/// As released: a modality becomes the general one of its kind, and then any becomes unknown, each with its chance.
void UnetTrainer::drop_modalities(const sdk::Context& context, at::Tensor& class_labels) const {
  if (losses_.modality_dropout <= 0 || !support::learns() || !class_labels.defined()) return;
  const std::int64_t rows = class_labels.size(0);
  const at::Tensor draws = support::host_noise(context, {rows, 2}, at::kCPU, "train.modality", MEDGEN_NOISE_UNIFORM);
  at::Tensor codes = class_labels.to(at::kCPU, at::kFloat).clone();
  auto* const code = codes.mutable_data_ptr<float>();
  const auto* const draw = draws.const_data_ptr<float>();
  for (std::int64_t n = 0; n < rows; ++n) {
    const auto dropped = [&](std::int64_t which) { return draw[2 * n + which] < losses_.modality_dropout; };
    if (dropped(0)) code[n] = static_cast<float>(general_modality(static_cast<std::int64_t>(code[n])));
    if (dropped(1)) code[n] = 0;
  }
  class_labels = codes.to(class_labels.device());
}

/// The second pass sees the same noise at the same time, without tumours. Batches without any have nothing to compare.
at::Tensor UnetTrainer::contrast(const sdk::Binds& batch, const UnetInputs& inputs, ControlNetInputs control,
                                 const at::Tensor& predicted, const at::Tensor& target, sdk::Outputs& out) const {
  const at::Tensor with_tumours = control.controlnet_cond;
  control.controlnet_cond = support::float_input(batch, "null/controlnet_cond", component_->device());
  support::require(control.controlnet_cond.sizes() == with_tumours.sizes(), "null/controlnet_cond has another shape");
  const at::Tensor region = differing_region(with_tumours, control.controlnet_cond, target);
  at::Tensor total = predicted.new_zeros({});
  if (region.any().item<bool>()) {
    const auto terms = losses_.contrast.terms(predicted, predict(inputs, control), target, region);
    total = losses_.contrast.weight * (terms.region + terms.background);
  }
  emit_scalar(out, "contrast", total);
  return total;
}

void UnetTrainer::losses(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  if (adapters_) adapters_->merge();
  UnetInputs inputs = component_->inputs(batch);
  drop_modalities(context, inputs.class_labels);
  std::optional<ControlNetInputs> control;
  if (controlnet_ != nullptr) {
    control = controlnet_->inputs(batch);
    if (control->class_labels.defined()) control->class_labels = inputs.class_labels;
  }
  const at::Tensor target = support::float_input(batch, "target", component_->device());
  const at::Tensor predicted = predict(inputs, control);
  check_target(target, predicted);
  const at::Tensor difference = predicted - target;
  at::Tensor each = losses_.l2 ? difference.square() : difference.abs();
  if (const at::Tensor weight = support::optional_input(batch, "weight", component_->device()); weight.defined())
    each = each * weight;
  at::Tensor loss = each.mean();
  if (losses_.contrast.weight > 0) loss = loss + contrast(batch, inputs, *control, predicted, target, out);
  modules_.backward(context, loss, losses_.contrast.weight == 0);
  emit_scalar(out, "loss", loss);
}

void UnetTrainer::step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  modules_.learn();
  losses(context, batch, out);
}

void UnetTrainer::evaluate(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  modules_.evaluate([&] { losses(context, batch, out); });
}

void UnetTrainer::apply(const sdk::Context&, double learning_rate) {
  modules_.apply(learning_rate);
}

void UnetTrainer::save(const sdk::Context&, std::uint32_t what, const sdk::StateSink& to) {
  modules_.save(what, to);
}

void UnetTrainer::load(const sdk::Context&, std::uint32_t what, const sdk::StateSource& from) {
  modules_.load(what, from);
}

}  // namespace medgen::maisi
