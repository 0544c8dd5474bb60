// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/maisi/region_contrast.h"
#include "plugins/support/training/lora.h"
#include "plugins/support/training/training.h"

#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <optional>
#include <span>
#include <string_view>

namespace medgen::maisi {

class UnetComponent;
class ControlNet;

/// The losses of a U-Net's training, from its options.
struct UnetLosses {
  bool l2 = false;              ///< in place of L1
  double modality_dropout = 0;  ///< how often a modality becomes its kind, and how often it becomes unknown
  RegionContrast contrast;

  static UnetLosses read(std::string_view options_json);
};

/// Trains a U-Net on noisy latents, alone or through a ControlNet peer; all of its weights, or low-rank adapters.
class UnetTrainer {
 public:
  UnetTrainer(UnetComponent& component, const sdk::Context& context, std::string_view options_json,
              std::span<const sdk::TrainPeer> peers);

  /// What the constructor refuses and can be told before networks have weights. @throws support::InvalidInput
  static void check(UnetComponent& component, std::string_view options_json, std::span<const sdk::TrainPeer> peers);

  /// batch: x, timesteps, conditions, target (N, C, X, Y, Z), optional weight (N, 1, X, Y, Z); for the contrast
  /// null/controlnet_cond, the condition without tumours. out: loss, and its terms where it has several
  void step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  /// The losses of step for a batch that is not learnt from, with the averaged weights.
  void evaluate(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void apply(const sdk::Context& context, double learning_rate);
  void save(const sdk::Context& context, std::uint32_t what, const sdk::StateSink& to);
  void load(const sdk::Context& context, std::uint32_t what, const sdk::StateSource& from);

 private:
  struct Options;
  UnetTrainer(UnetComponent& component, const sdk::Context& context, const Options& options,
              std::span<const sdk::TrainPeer> peers);

  void losses(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  at::Tensor predict(const UnetInputs& inputs, const std::optional<ControlNetInputs>& control) const;
  void drop_modalities(const sdk::Context& context, at::Tensor& class_labels) const;
  at::Tensor contrast(const sdk::Binds& batch, const UnetInputs& inputs, ControlNetInputs control,
                      const at::Tensor& predicted, const at::Tensor& target, sdk::Outputs& out) const;

  UnetComponent* component_;
  ControlNet* controlnet_;
  UnetLosses losses_;
  std::optional<support::LowRankAdapters> adapters_;
  support::TrainedModules modules_;
};

}  // namespace medgen::maisi
