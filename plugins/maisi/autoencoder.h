// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/autoencoder_trainer.h"
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/schemas.h"
#include "plugins/maisi/training_schemas.h"
#include "plugins/maisi/window_decode.h"

#include <medgen/sdk/sdk.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace medgen::maisi {

/// maisi.autoencoder: the image VAE, and with other channels the mask VAE (AutoencoderKlMaisi).
class Autoencoder {
 public:
  static constexpr std::string_view id = "maisi.autoencoder";
  static constexpr std::string_view summary = "MAISI's VAE: a volume to a latent and back, the whole volume at once.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE;
  static constexpr std::string_view config_schema = kAutoencoderSchema;
  static constexpr std::string_view io = kAutoencoderIo;
  static constexpr std::string_view train_options_schema = kAutoencoderTrainerOptions;

  explicit Autoencoder(const sdk::Create& create);

  /// x (N, C, X, Y, Z), or label maps (N, 1, ...) when it has classes -> mean, sigma (N, latent_channels, X/f, Y/f,
  /// Z/f)
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  /// z (N, latent_channels, ...) -> x, or label maps (N, 1, ...) when it has classes
  void decode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string describe() const;
  /// {"function": "encode" | "decode" | "train", "inputs": {"x" | "z": shape}}
  std::string estimate(std::string_view request_json) const;
  AutoencoderTrainer train(const sdk::Context& context, std::string_view options_json,
                           std::span<const sdk::TrainPeer> peers);

  void check_training(std::string_view options_json, std::span<const sdk::TrainPeer> peers) {
    AutoencoderTrainer::check(*this, options_json, peers);
  }

  static const void* extension(std::string_view id);
  static medgen_status_t status_of(const std::exception& error) noexcept;
  static std::string message_of(const std::exception& error);

  AutoencoderKlMaisi& network() { return *network_; }

  const AutoencoderKlMaisiConfig& config() const { return config_; }

  /// How label maps pass through it; absent: it makes images.
  const std::optional<LabelCoding>& labels() const { return labels_; }

  at::Device device() const { return device_; }

  at::ScalarType compute() const { return compute_; }

 private:
  /// (1, latent_channels, ...) -> (1, out_channels, ...), in windows
  at::Tensor blended_row(const at::Tensor& z, const Windows& windows, const nn::StreamOptions& options) const;
  /// What becomes of the network's planes: an image, or labels.
  nn::FinishPlanes finishing() const;
  /// One channel where it makes labels.
  std::vector<std::int64_t> decoded_shape(at::IntArrayRef z) const;
  /// Bytes of what decoding a row of z has beside the network's work and its result.
  std::uint64_t beside_decode(at::IntArrayRef z, const Windows& windows) const;
  /// For a call whose tensors take `bytes`.
  nn::StreamOptions stream_options(std::uint64_t bytes) const;
  nn::StreamOptions decode_options(at::IntArrayRef z, const Windows& windows) const;
  nlohmann::json estimate_training(const nlohmann::json& request) const;
  nlohmann::json estimate_encode(const std::vector<std::int64_t>& x) const;
  nlohmann::json estimate_decode(const std::vector<std::int64_t>& z) const;
  /// Bytes that decoding a row of z at once takes beside the call's result.
  std::uint64_t peak_of_whole(const nn::StreamCost& cost, at::IntArrayRef row) const;
  nlohmann::json reply_for(const nn::StreamCost& cost, std::uint64_t peak, std::int64_t rows) const;

  AutoencoderKlMaisiConfig config_;
  std::optional<LabelCoding> labels_;
  WindowOptions windows_;
  std::uint64_t memory_budget_;
  at::Device device_;
  at::ScalarType compute_;
  std::unique_ptr<AutoencoderKlMaisi> network_;
};

}  // namespace medgen::maisi
