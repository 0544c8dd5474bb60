// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/adversary.h"

#include <ATen/ops/leaky_relu.h>
#include <ATen/TensorOperators.h>

namespace medgen::maisi {
namespace {

constexpr double kSlope = 0.05;
constexpr char kPrefix[] = "optimizer/discriminator/";

/// As released.
PatchDiscriminatorConfig released(std::int64_t channels) {
  PatchDiscriminatorConfig config;
  config.channels = 32;
  config.in_channels = channels;
  config.norm = PatchDiscriminatorConfig::Norm::Instance;
  config.norm_affine = false;
  return config;
}

support::TrainingOptions without_average(support::TrainingOptions options) {
  options.ema = 0;  // nobody would use it
  return options;
}

}  // namespace

Adversary::Adversary(std::int64_t channels, const support::TrainingOptions& options, std::uint64_t seed)
    : network_(std::make_unique<PatchDiscriminator>(released(channels))),
      modules_({{"", network_.get(), true, nullptr}}, without_average(options), seed) {}

at::Tensor Adversary::error(const at::Tensor& image, double target) const {
  return (at::leaky_relu(network_->forward(image).back(), kSlope) - target).square().mean();
}

void Adversary::want_gradients(bool on) {
  for (const nn::NamedParameter& named : network_->parameters()) {
    if (named.parameter->trainable()) named.parameter->value.requires_grad_(on);
  }
}

at::Tensor Adversary::judge(const at::Tensor& image) {
  want_gradients(false);
  const at::Tensor loss = error(image, 1.0);
  want_gradients(true);
  return loss;
}

at::Tensor Adversary::learn(const sdk::Context& context, const at::Tensor& real, const at::Tensor& made) {
  const at::Tensor loss = 0.5 * (error(made.detach(), 0.0) + error(real.detach(), 1.0));
  if (loss.requires_grad()) modules_.backward(context, loss);
  return loss;
}

void Adversary::save(std::uint32_t what, const sdk::StateSink& to) {
  if ((what & MEDGEN_TRAIN_OPTIMIZER) != 0) modules_.save(MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_OPTIMIZER, to, kPrefix);
  if ((what & MEDGEN_TRAIN_GRADIENTS) != 0) modules_.save(MEDGEN_TRAIN_GRADIENTS, to, "discriminator/");
}

void Adversary::load(std::uint32_t what, const sdk::StateSource& from) {
  if ((what & MEDGEN_TRAIN_OPTIMIZER) != 0) modules_.load(MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_OPTIMIZER, from, kPrefix);
}

}  // namespace medgen::maisi
