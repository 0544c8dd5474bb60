// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/trainers.h"

#include "plugins/maisi/autoencoder.h"
#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"

#include <ATen/ops/empty_like.h>
#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

nlohmann::json parsed(std::string_view text) {
  return text.empty() ? nlohmann::json::object() : nlohmann::json::parse(text);
}

void emit_scalar(sdk::Outputs& out, const char* name, const at::Tensor& value) {
  support::emit(out, name, value.detach().to(at::kFloat).reshape({1}));
}

/// Standard normal noise of the host, so that training is reproducible for any number of threads.
at::Tensor noise_like(const sdk::Context& context, const at::Tensor& like, std::string_view purpose) {
  at::Tensor noise =
      at::empty_like(like, at::TensorOptions().dtype(at::kFloat).device(at::kCPU), at::MemoryFormat::Contiguous);
  medgen_tensor_t view{};
  view.data = noise.data_ptr();
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(noise.dim());
  view.dtype = sdk::kFloat32;
  view.shape = const_cast<std::int64_t*>(noise.sizes().data());
  view.strides = const_cast<std::int64_t*>(noise.strides().data());
  context.fill_noise(sdk::Tensor(view, "noise"), purpose);
  return noise.to(like.device());
}

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

AutoencoderTrainer::AutoencoderTrainer(Autoencoder& component, const sdk::Context& context,
                                       std::string_view options_json)
    : component_(&component),
      kl_weight_(parsed(options_json).value("kl_weight", 1e-7)),
      modules_({{"", &component.network(), true, nullptr}},
               support::TrainingOptions::read(options_json, component.compute()), context.seed()) {}

void AutoencoderTrainer::step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  const at::Tensor x = support::float_input(batch, "x", component_->device());
  const auto posterior = component_->network().encode(x);
  const at::Tensor z = posterior.mean + posterior.sigma * noise_like(context, posterior.mean, "train.posterior");
  const at::Tensor l1 = (component_->network().decode(z) - x).abs().mean();
  const at::Tensor variance = posterior.sigma.square();
  const at::Tensor kl = 0.5 * (posterior.mean.square() + variance - (variance + 1e-10).log() - 1).sum() / x.size(0);
  const at::Tensor loss = l1 + kl_weight_ * kl;
  modules_.backward(loss);
  emit_scalar(out, "loss", loss);
  emit_scalar(out, "l1", l1);
  emit_scalar(out, "kl", kl);
}

void AutoencoderTrainer::apply(const sdk::Context&, double learning_rate) {
  modules_.apply(learning_rate);
}

void AutoencoderTrainer::save(const sdk::Context&, std::uint32_t what, sdk::Outputs& out) {
  modules_.save(what, out);
}

void AutoencoderTrainer::load(const sdk::Context&, std::uint32_t what, const sdk::Binds& in) {
  modules_.load(what, in);
}

UnetTrainer::UnetTrainer(UnetComponent& component, const sdk::Context& context, std::string_view options_json,
                         std::span<const sdk::TrainPeer> peers)
    : component_(&component),
      controlnet_(controlnet_of(peers)),
      l2_(parsed(options_json).value("loss", "l1") == "l2"),
      modules_(members_of(component, parsed(options_json).value("train_denoiser", true), peers),
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
