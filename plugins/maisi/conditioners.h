// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/null_labels.h"
#include "plugins/maisi/schemas.h"

#include <medgen/sdk/sdk.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::maisi {

/// maisi.conditions: spacing, body region and modality as MAISI's networks take them. Spacing
/// in mm and one-hot regions are multiplied by 100, as released.
class Conditions {
 public:
  static constexpr std::string_view id = "maisi.conditions";
  static constexpr std::string_view summary = "Spacing, body regions and modality to the U-Net's vector inputs.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;
  static constexpr std::string_view config_schema = kConditionsSchema;
  static constexpr std::string_view io = kConditionsIo;

  explicit Conditions(const sdk::Create& create);

  /// params: spacing_mm [x, y, z], modality, top_region, bottom_region. Where regions are wanted and not given they are
  /// read off the mask's labels. The null condition has modality 0.
  /// @throws sdk::Error for what the model does not take, a modality of the other kind (CT or MR), a top below the
  /// bottom
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string estimate(std::string_view request_json) const;

 private:
  void check_modality(std::int64_t code) const;
  void refuse_unused(std::string_view params_json) const;

  bool spacing_, regions_;
  std::optional<std::int64_t> modality_;  ///< the default
  std::int64_t modalities_ = 128;         ///< codes of the network's class embedding
};

/// maisi.labels: a label map to planes, for a ControlNet ("controlnet_cond") or to be joined to x
/// ("concat").
class LabelPlanes {
 public:
  static constexpr std::string_view id = "maisi.labels";
  static constexpr std::string_view summary =
      "A label map to bit planes or one-hot planes, at full or at the latent's resolution.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;
  static constexpr std::string_view config_schema = kLabelPlanesSchema;
  static constexpr std::string_view io = kLabelPlanesIo;

  explicit LabelPlanes(const sdk::Create& create);

  /// mask (N, 1, X, Y, Z) integer -> planes (N, K * unshuffle^3, X/unshuffle, ...)
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string estimate(std::string_view request_json) const;

 private:
  void check_labels(const std::vector<std::int64_t>& labels) const;
  /// Label maps of this size, one after the other, as the null condition of guidance has them.
  void make_null(std::span<std::int64_t> labels, const std::array<std::int64_t, 3>& size) const;

  bool bits_;
  std::int64_t planes_;
  std::vector<std::int64_t> classes_;  ///< of one-hot planes, in order
  std::int64_t unshuffle_;
  std::string output_;
  NullLabels null_labels_;
};

}  // namespace medgen::maisi
