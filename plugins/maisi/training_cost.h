// SPDX-License-Identifier: Apache-2.0
// What one training step takes, from the configurations of the networks: the same walk through the layers as the pass
// itself, counting what each keeps for the way back. The factors were measured (tests/bench/training_plan.py).
#pragma once

#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/unet_config.h"
#include "plugins/support/training/training.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <vector>

namespace medgen::maisi {

/// A request for "train" (docs/abi.md, "estimate"), read.
struct TrainingSetup {
  std::int64_t batch = 1;
  std::vector<std::int64_t> spatial;  ///< lengths of x
  support::TrainingOptions options;
  bool learns = true;           ///< else gradients pass through on their way to another network
  bool gradients_stay = false;  ///< from batch to batch, until the optimiser's step

  /// @throws sdk::Error when x is missing or has no five axes
  static TrainingSetup read(const nlohmann::json& request, at::ScalarType compute);
};

/// Most bytes of activations, of gradients of activations and of weights at a time. @{
double training_bytes(const AutoencoderKlMaisiConfig& config, const TrainingSetup& setup);
double training_bytes(const UnetConfig& config, std::int64_t out_channels, const TrainingSetup& setup);
double training_bytes(const ControlNetMaisiConfig& config, const TrainingSetup& setup);
/// @}

/// The released discriminator's steps on an image, its weights and moments included.
double adversary_bytes(std::int64_t channels, const TrainingSetup& setup);
/// Of a feature network on `part` of the slices along each axis, and of them again.
double perceptual_bytes(double part, const TrainingSetup& setup);

/// Bytes that a training has beside its arrays, whatever their size: scratch and packed weights of the operators'
/// library, gaps between arrays. Measured (tests/bench/training_plan.py).
inline constexpr std::uint64_t kTrainingScratch = std::uint64_t{208} << 20;

/// A reply of the keys that all trained networks give. @param pass  as `training_bytes`; @param numel  of the network's
/// weights
nlohmann::json training_reply(double pass, std::int64_t numel, const TrainingSetup& setup);

}  // namespace medgen::maisi
