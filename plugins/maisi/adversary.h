// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/patch_discriminator.h"
#include "plugins/support/training/training.h"

#include <memory>
#include <string>

namespace medgen::maisi {

/// The discriminator of the VAE's training with its own optimiser. Least squares (Mao et al. 2017) on logits that pass
/// through a leaky ReLU of slope 0.05, as released.
class Adversary {
 public:
  /// @param channels  of the images that it judges
  Adversary(std::int64_t channels, const support::TrainingOptions& options, std::uint64_t seed);

  /// What the generator is to lower: how far `image` is from being taken for real. Gradients reach the image alone.
  at::Tensor judge(const at::Tensor& image);

  /// The discriminator's own loss, with gradients of its weights, of all processes: half of both errors. Inputs get no
  /// gradients.
  at::Tensor learn(const sdk::Context& context, const at::Tensor& real, const at::Tensor& made);

  void require_sound_gradients() const { modules_.require_sound_gradients(); }

  void apply(double learning_rate) { modules_.apply(learning_rate); }

  /// All of it is state of the training, not of the model: kept and restored with the optimiser.
  void save(std::uint32_t what, const sdk::StateSink& to);
  void load(std::uint32_t what, const sdk::StateSource& from);

  PatchDiscriminator& network() { return *network_; }

 private:
  /// Mean squared distance of the logits from `target`.
  at::Tensor error(const at::Tensor& image, double target) const;
  void want_gradients(bool on);

  std::unique_ptr<PatchDiscriminator> network_;
  support::TrainedModules modules_;
};

}  // namespace medgen::maisi
