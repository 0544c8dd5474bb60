// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/schemas.h"

#include <medgen/sdk/sdk.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::maisi {

/// maisi.conditions: spacing, body region and modality as MAISI's networks take them (sheet sections 1.2, 1.8). Spacing
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
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);

 private:
  bool spacing_, regions_;
  std::optional<std::int64_t> modality_;
};

/// maisi.labels: a label map to planes, for a ControlNet ("controlnet_cond", sheet section 1.3) or to be joined to x
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

 private:
  /// Plane k of a label is 1 or 0.
  bool plane(std::int64_t label, std::int64_t k) const;
  void check_labels(const std::vector<std::int64_t>& labels) const;
  void null_labels(std::vector<std::int64_t>& labels) const;

  bool bits_;
  std::int64_t planes_;
  std::vector<std::int64_t> classes_;  ///< of one-hot planes, in order
  std::int64_t unshuffle_;
  std::string output_;
  std::map<std::int64_t, std::int64_t> null_map_;
};

}  // namespace medgen::maisi
