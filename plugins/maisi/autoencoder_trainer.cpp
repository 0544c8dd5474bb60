// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder_trainer.h"

#include "plugins/maisi/autoencoder.h"
#include "plugins/maisi/perceptual_network.h"
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
using support::require;

constexpr std::string_view kFeatures = "perceptual";  // the peer

/// Of N(mean, sigma^2) from N(0, 1), summed over the latent and averaged over the batch.
at::Tensor divergence(const AutoencoderKlMaisi::Posterior& posterior) {
  const at::Tensor variance = posterior.sigma.square();
  return 0.5 * (posterior.mean.square() + variance - (variance + 1e-10).log() - 1).sum() / variance.size(0);
}

}  // namespace

AutoencoderTrainer::Options AutoencoderTrainer::Options::read(std::string_view text) {
  const nlohmann::json json = support::parsed_options(text);
  return {.l2 = json.value("loss", "l1") == "l2",
          .kl_weight = json.value("kl_weight", 1e-7),
          .perceptual_weight = json.value("perceptual_weight", 0.0),
          .slices = json.value("perceptual_slices", 0.2),
          .adversarial_weight = json.value("adversarial_weight", 0.0),
          .discriminator_rate = json.value("discriminator_rate", 1.0),
          .adversarial_start = json.value("adversarial_start", std::int64_t{0})};
}

AutoencoderTrainer::AutoencoderTrainer(Autoencoder& component, const sdk::Context& context,
                                       std::string_view options_json, std::span<const sdk::TrainPeer> peers)
    : component_(&component),
      options_(Options::read(options_json)),
      modules_({{"", &component.network(), true, nullptr}},
               support::TrainingOptions::read(options_json, component.compute(), component.device()), context.seed()) {
  check(component, options_json, peers);
  if (component.labels()) return;
  read_peers(peers);
  if (options_.adversarial_weight > 0) {
    adversary_.emplace(component.config().out_channels,
                       support::TrainingOptions::read(options_json, component.compute(), component.device()),
                       context.seed());
  }
}

void AutoencoderTrainer::check(const Autoencoder& component, std::string_view options_json,
                               std::span<const sdk::TrainPeer> peers) {
  support::TrainingOptions::check(options_json);
  const Options options = Options::read(options_json);
  const AutoencoderKlMaisiConfig& config = component.config();
  if (component.labels()) {
    require(options.adversarial_weight == 0 && options.perceptual_weight == 0,
            "label maps are trained without adversarial and perceptual losses");
    require(!options.l2, "loss is l2, but label maps are trained with cross-entropy: leave it out");
    return;
  }
  require(config.in_channels == config.out_channels,
          "the network makes {} channels of {}: a mask autoencoder is trained when its config has \"classes\"",
          config.out_channels, config.in_channels);
  const bool has_features =
      std::any_of(peers.begin(), peers.end(), [](const sdk::TrainPeer& peer) { return peer.role == kFeatures; });
  require(has_features || options.perceptual_weight == 0,
          "perceptual_weight is {}, but there is no feature network: give the step \"perceptual\"",
          options.perceptual_weight);
}

void AutoencoderTrainer::read_peers(std::span<const sdk::TrainPeer> peers) {
  for (const sdk::TrainPeer& peer : peers) {
    if (peer.role != kFeatures) continue;
    Lpips& network = peer.as<PerceptualNetwork>().network();
    support::require_weights(network, PerceptualNetwork::id);
    if (options_.perceptual_weight > 0) perceptual_.emplace(network, options_.slices);
  }
}

AutoencoderTrainer::Made AutoencoderTrainer::autoencode(const sdk::Context& context, const sdk::Binds& batch,
                                                        const at::Tensor& x) {
  AutoencoderKlMaisi& network = component_->network();
  const auto posterior = network.encode(x);
  at::Tensor noise = support::optional_input(batch, "noise", component_->device());
  if (!noise.defined())
    noise = support::host_noise(context, posterior.mean.sizes(), component_->device(), "train.posterior");
  require(noise.sizes() == posterior.mean.sizes(), "noise has the shape {}, the latent {}",
          fmt::join(noise.sizes(), "x"), fmt::join(posterior.mean.sizes(), "x"));
  return {network.decode(posterior.mean + posterior.sigma * noise), divergence(posterior)};
}

void AutoencoderTrainer::step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  modules_.learn();
  losses(context, batch, out);
}

void AutoencoderTrainer::losses(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  component_->labels() ? losses_of_labels(context, batch, out) : losses_of_images(context, batch, out);
}

void AutoencoderTrainer::losses_of_images(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  const at::Tensor x = support::float_input(batch, "x", component_->device());
  const Made made = autoencode(context, batch, x);
  require(made.image.sizes() == x.sizes(),
          "x has the shape {}, what is made of it {}: its axes must be multiples of {}", fmt::join(x.sizes(), "x"),
          fmt::join(made.image.sizes(), "x"), component_->config().compression());
  const at::Tensor difference = made.image - x;
  const at::Tensor distance = options_.l2 ? difference.square().mean() : difference.abs().mean();
  at::Tensor loss = distance + options_.kl_weight * made.kl;
  emit_scalar(out, options_.l2 ? "l2" : "l1", distance);
  emit_scalar(out, "kl", made.kl);
  if (perceptual_) {
    const at::Tensor perceptual = perceptual_->forward(context, batch, made.image, x);
    loss = loss + options_.perceptual_weight * perceptual;
    emit_scalar(out, "perceptual", perceptual);
  }
  if (judges()) {
    const at::Tensor adversarial = adversary_->judge(made.image);
    // A discriminator that has learnt makes no image worse: `evaluate` tells what it thinks, and weights are compared
    // without it.
    if (support::learns()) loss = loss + options_.adversarial_weight * adversarial;
    emit_scalar(out, "adversarial", adversarial);
  }
  modules_.backward(context, loss);
  emit_scalar(out, "loss", loss);
  if (judges()) emit_scalar(out, "discriminator", adversary_->learn(context, x, made.image));
}

void AutoencoderTrainer::losses_of_labels(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  const LabelCoding& labels = *component_->labels();
  const at::Tensor map = support::float_input(batch, "x", component_->device());
  const at::Tensor classes = labels.classes(map);
  const Made made = autoencode(context, batch, labels.planes(map));
  const at::Tensor cross_entropy = label_cross_entropy(made.image, classes);
  const at::Tensor loss = cross_entropy + options_.kl_weight * made.kl;
  modules_.backward(context, loss);
  emit_scalar(out, "loss", loss);
  emit_scalar(out, "cross_entropy", cross_entropy);
  emit_scalar(out, "kl", made.kl);
}

void AutoencoderTrainer::evaluate(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  modules_.evaluate([&] { losses(context, batch, out); });
}

void AutoencoderTrainer::apply(const sdk::Context&, double learning_rate) {
  const bool judged = judges();                       // before the step counts
  if (judged) adversary_->require_sound_gradients();  // neither network moves when one cannot
  modules_.apply(learning_rate);
  if (judged) adversary_->apply(learning_rate * options_.discriminator_rate);
}

void AutoencoderTrainer::save(const sdk::Context&, std::uint32_t what, const sdk::StateSink& to) {
  modules_.save(what, to);
  if (adversary_) adversary_->save(what, to);
}

void AutoencoderTrainer::load(const sdk::Context&, std::uint32_t what, const sdk::StateSource& from) {
  modules_.load(what, from);
  if (adversary_) adversary_->load(what, from);
}

}  // namespace medgen::maisi
