// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/schemas.h"
#include "plugins/support/training/training.h"

#include <medgen/sdk/draft/train.hpp>
#include <medgen/sdk/sdk.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::maisi {

class MaskAutoencoder;

/// Trains the mask VAE: cross-entropy of the classes + kl_weight KL.
class MaskAutoencoderTrainer {
 public:
  MaskAutoencoderTrainer(MaskAutoencoder& component, const sdk::Context& context, std::string_view options_json);

  /// batch: x. out: loss, cross_entropy, kl, accuracy (of voxels)
  void step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out);
  void apply(const sdk::Context& context, double learning_rate);
  void save(const sdk::Context& context, std::uint32_t what, sdk::Outputs& out);
  void load(const sdk::Context& context, std::uint32_t what, const sdk::Binds& in);

 private:
  MaskAutoencoder* component_;
  double kl_weight_;
  support::TrainedModules modules_;
};

/// maisi.mask_autoencoder: the mask VAE (AutoencoderKlMaisi) between label ids: planes go in, the likeliest class comes
/// out.
class MaskAutoencoder {
 public:
  static constexpr std::string_view id = "maisi.mask_autoencoder";
  static constexpr std::string_view summary = "MAISI's mask VAE: a label map to a latent and back to label ids.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE;
  static constexpr std::string_view config_schema = kMaskAutoencoderSchema;
  static constexpr std::string_view io = kAutoencoderIo;
  static constexpr std::string_view train_options_schema = kAutoencoderTrainerOptions;

  explicit MaskAutoencoder(const sdk::Create& create);

  /// x (N, 1, X, Y, Z) label ids -> mean, sigma (N, latent_channels, X/f, Y/f, Z/f)
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  /// z (N, latent_channels, ...) -> x, label ids
  void decode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string describe() const;
  /// {"function": "encode" | "decode", "inputs": {"x" | "z": shape}}
  std::string estimate(std::string_view request_json) const;
  MaskAutoencoderTrainer train(const sdk::Context& context, std::string_view options_json,
                               std::span<const sdk::TrainPeer> peers);
  static const void* extension(std::string_view id);
  static medgen_status_t status_of(const std::exception& error) noexcept;
  static std::string message_of(const std::exception& error);

  AutoencoderKlMaisi& network() { return *network_; }

  at::Device device() const { return device_; }

  at::ScalarType compute() const { return compute_; }

  /// What the network sees of label ids (N, 1, X, Y, Z): bit planes, or one plane for each class.
  at::Tensor planes(const at::Tensor& labels) const;
  /// The class numbers (N, X, Y, Z), int64. @throws InvalidInput for an id that is no class
  at::Tensor classes_of(const at::Tensor& labels) const;

 private:
  AutoencoderKlMaisiConfig config_;
  bool bits_;
  std::vector<std::int64_t> classes_;  ///< label id of each output channel
  std::uint64_t memory_budget_;
  at::Device device_;
  at::ScalarType compute_;
  std::unique_ptr<AutoencoderKlMaisi> network_;
};

}  // namespace medgen::maisi
