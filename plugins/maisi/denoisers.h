// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/maisi/schemas.h"
#include "plugins/maisi/training_schemas.h"
#include "plugins/maisi/unet_trainer.h"
#include "plugins/support/nn/kept_weights.h"
#include "plugins/support/nn/replay.h"

#include <medgen/sdk/sdk.hpp>

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace medgen::maisi {

/// What the two U-Nets share as components.
class UnetComponent {
 public:
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE;
  static constexpr std::string_view train_options_schema = kUnetTrainerOptions;

  /// x (N, C, X, Y, Z) and conditions -> out (N, out_channels, X, Y, Z). The bind "concat", where there is one, is
  /// joined to x along the channels (label-conditioned models without a ControlNet).
  void predict(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string describe() const;
  /// {"function": "predict" | "train", "inputs": {"x": shape, ...}}
  std::string estimate(std::string_view request_json) const;
  UnetTrainer train(const sdk::Context& context, std::string_view options_json, std::span<const sdk::TrainPeer> peers);

  void check_training(std::string_view options_json, std::span<const sdk::TrainPeer> peers) {
    UnetTrainer::check(*this, options_json, peers);
  }

  static medgen_status_t status_of(const std::exception& error) noexcept;
  static std::string message_of(const std::exception& error);

  DiffusionUnet& network() { return *network_; }

  at::Device device() const { return device_; }

  at::ScalarType compute() const { return compute_; }

  /// The published call's arguments out of a call's tensors.
  UnetInputs inputs(const sdk::Binds& in) const;

 protected:
  UnetComponent(const sdk::Create& create, std::unique_ptr<DiffusionUnet> network, std::int64_t out_channels);
  ~UnetComponent();
  UnetComponent(const UnetComponent&) = delete;
  UnetComponent& operator=(const UnetComponent&) = delete;

 private:
  at::Device device_;
  at::ScalarType compute_;
  std::unique_ptr<DiffusionUnet> network_;
  std::int64_t out_channels_;
  nn::Replay replay_;
  nn::KeptWeights kept_weights_;

  /// Of one row.
  at::Tensor evaluated(UnetInputs inputs);
  std::string estimate_training(const nlohmann::json& request) const;
};

/// maisi.unet: the image denoiser, ddpm and rflow.
class Unet : public UnetComponent {
 public:
  static constexpr std::string_view id = "maisi.unet";
  static constexpr std::string_view summary =
      "MAISI's image denoiser (DiffusionModelUNetMaisi), ddpm and rectified flow.";
  static constexpr std::string_view config_schema = kUnetSchema;
  static constexpr std::string_view io = kUnetComponentIo;
  static const void* extension(std::string_view id);
  explicit Unet(const sdk::Create& create);

 private:
  Unet(const sdk::Create& create, const DiffusionModelUNetMaisiConfig& config);
};

/// maisi.mask_unet: the mask denoiser, a stock latent diffusion U-Net with cross-attention.
class MaskUnet : public UnetComponent {
 public:
  static constexpr std::string_view id = "maisi.mask_unet";
  static constexpr std::string_view summary = "MAISI's mask denoiser (DiffusionModelUNet with cross-attention).";
  static constexpr std::string_view config_schema = kMaskUnetSchema;
  static constexpr std::string_view io = kMaskUnetIo;
  static const void* extension(std::string_view id);
  explicit MaskUnet(const sdk::Create& create);

 private:
  MaskUnet(const sdk::Create& create, const DiffusionModelUNetConfig& config);
};

}  // namespace medgen::maisi
