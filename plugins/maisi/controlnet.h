// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/schemas.h"
#include "plugins/support/nn/kept_weights.h"
#include "plugins/support/nn/replay.h"

#include <medgen/sdk/sdk.hpp>

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace medgen::maisi {

/// maisi.controlnet: residuals for the U-Net from a full-resolution condition, at every evaluation.
class ControlNet {
 public:
  static constexpr std::string_view id = "maisi.controlnet";
  static constexpr std::string_view summary = "MAISI's ControlNet: label planes to residuals down0..downN and mid.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE;
  static constexpr std::string_view config_schema = kControlNetSchema;
  static constexpr std::string_view io = kControlNetIo;

  explicit ControlNet(const sdk::Create& create);
  ~ControlNet();
  ControlNet(const ControlNet&) = delete;
  ControlNet& operator=(const ControlNet&) = delete;

  /// x (N, C, X, Y, Z), timesteps (N), controlnet_cond (N, K, X*f, Y*f, Z*f) -> down0 ..., mid
  void step(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string describe() const;
  /// {"function": "step" | "train", "inputs": {"x": shape, ...}}
  std::string estimate(std::string_view request_json) const;
  static medgen_status_t status_of(const std::exception& error) noexcept;
  static std::string message_of(const std::exception& error);

  ControlNetMaisi& network() { return *network_; }

  at::Device device() const { return device_; }

  at::ScalarType compute() const { return compute_; }

  ControlNetInputs inputs(const sdk::Binds& in) const;

 private:
  at::Device device_;
  at::ScalarType compute_;
  double conditioning_scale_;
  std::unique_ptr<ControlNetMaisi> network_;
  nn::Replay replay_;
  nn::KeptWeights kept_weights_;

  /// Of one row.
  ControlNetResiduals evaluated(ControlNetInputs inputs);
  std::string estimate_training(const nlohmann::json& request) const;
};

}  // namespace medgen::maisi
