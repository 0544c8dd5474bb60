// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/adversary.h"
#include "plugins/maisi/label_loss.h"
#include "plugins/maisi/perceptual_loss.h"
#include "plugins/support/training/training.h"

#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <optional>
#include <span>
#include <string_view>

namespace medgen::maisi {

class Autoencoder;

/// Trains the VAE. Of images: L1 or L2, KL, and where their weights are positive a perceptual and an adversarial loss,
/// as released. Of label maps, when the component has classes: x is the map, and the loss cross-entropy and KL. KL is
/// summed over the latent and averaged over the batch.
class AutoencoderTrainer {
 public:
  /// The peer "perceptual" is the feature network (PerceptualNetwork).
  AutoencoderTrainer(Autoencoder& component, const sdk::Context& context, std::string_view options_json,
                     std::span<const sdk::TrainPeer> peers = {});

  /// What the constructor refuses and can be told before networks have weights. @throws support::InvalidInput
  static void check(const Autoencoder& component, std::string_view options_json, std::span<const sdk::TrainPeer> peers);

  /// batch: x; optional noise (of the latent, in place of the host's), slices.x, .y, .z (PerceptualLoss).
  /// out: loss, kl, l1 or l2 or cross_entropy, and of those in use perceptual, adversarial, discriminator
  void step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  /// The losses of step for a batch that is not learnt from, with the averaged weights.
  void evaluate(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void apply(const sdk::Context& context, double learning_rate);
  void save(const sdk::Context& context, std::uint32_t what, const sdk::StateSink& to);
  void load(const sdk::Context& context, std::uint32_t what, const sdk::StateSource& from);

 private:
  struct Options {
    bool l2;
    double kl_weight, perceptual_weight, slices, adversarial_weight, discriminator_rate;
    std::int64_t adversarial_start;

    static Options read(std::string_view json);
  };

  struct Made {
    at::Tensor image;  ///< or logits
    at::Tensor kl;
  };

  void read_peers(std::span<const sdk::TrainPeer> peers);
  Made autoencode(const sdk::Context& context, const sdk::Binds& batch, const at::Tensor& x);
  void losses(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void losses_of_images(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void losses_of_labels(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);

  bool judges() const { return adversary_ && modules_.steps() >= options_.adversarial_start; }

  Autoencoder* component_;
  Options options_;
  support::TrainedModules modules_;
  std::optional<PerceptualLoss> perceptual_;
  std::optional<Adversary> adversary_;
};

}  // namespace medgen::maisi
