// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/training/training.h"

#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <span>
#include <string_view>

namespace medgen::maisi {

class UnetComponent;
class ControlNet;

/// Trains a U-Net on noisy latents, alone or through a ControlNet peer.
class UnetTrainer {
 public:
  UnetTrainer(UnetComponent& component, const sdk::Context& context, std::string_view options_json,
              std::span<const sdk::TrainPeer> peers);

  /// batch: x, timesteps, conditions, target (N, C, X, Y, Z), optional weight (N, 1, X, Y, Z). out: loss
  void step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void apply(const sdk::Context& context, double learning_rate);
  void save(const sdk::Context& context, std::uint32_t what, sdk::Outputs& out);
  void load(const sdk::Context& context, std::uint32_t what, const sdk::Binds& in);

 private:
  UnetComponent* component_;
  ControlNet* controlnet_;
  bool l2_;
  support::TrainedModules modules_;
};

}  // namespace medgen::maisi
