// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/lpips.h"
#include "plugins/maisi/training_schemas.h"

#include <medgen/sdk/sdk.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace medgen::maisi {

/// maisi.lpips: the feature network of the VAE's perceptual loss. By kind a conditioner, for it turns images into
/// numbers.
class PerceptualNetwork {
 public:
  static constexpr std::string_view id = "maisi.lpips";
  static constexpr std::string_view summary = "LPIPS and ST-LPIPS: perceptual distance of 2D images.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE;
  static constexpr std::string_view config_schema = kLpipsSchema;
  static constexpr std::string_view io = kLpipsIo;

  explicit PerceptualNetwork(const sdk::Create& create);

  /// x, y (N, 1 or 3, H, W) -> distance (N); always float32, as published
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string describe() const;
  static medgen_status_t status_of(const std::exception& error) noexcept;
  static std::string message_of(const std::exception& error);

  Lpips& network() { return *network_; }

 private:
  at::Device device_;
  std::unique_ptr<Lpips> network_;
};

}  // namespace medgen::maisi
