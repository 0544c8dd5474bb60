// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/schemas.h"

#include <medgen/sdk/sdk.hpp>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::maisi {

/// maisi.anatomy_sizes: how large organs and tumours are to be, the mask U-Net's context. A size is the share of the
/// training's cases that are smaller, 0 to 1, or -1 for what is not there.
class AnatomySizes {
 public:
  static constexpr std::string_view id = "maisi.anatomy_sizes";
  static constexpr std::string_view summary = "Sizes of organs and tumours to the mask U-Net's context.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;
  static constexpr std::string_view config_schema = kAnatomySizesSchema;
  static constexpr std::string_view io = kAnatomySizesIo;

  explicit AnatomySizes(const sdk::Create& create);

  /// params: anatomy_sizes {"liver": 0.5}; slots that are not named are drawn, each size as likely as any other. With a
  /// mask (training) the sizes are measured in it, or in whole_mask where that is a patch of it, against
  /// label_volumes_ml, what the training's cases have; -1 also of labels that none of them has. -> context (N, 1,
  /// slots)
  /// @throws sdk::Error for a slot that is not there, a size out of range, more than one tumour
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string estimate(std::string_view request_json) const;

 private:
  struct Slot {
    std::string name;
    std::int64_t label;
    bool tumour;
  };

  std::vector<std::vector<double>> known_volumes(const nlohmann::json& params) const;
  std::vector<float> measured(const sdk::TensorView& mask, const nlohmann::json& params) const;
  std::vector<float> asked(const sdk::Context& context, const sdk::Binds& in) const;

  std::vector<Slot> slots_;
};

}  // namespace medgen::maisi
