// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/schemas.h"

#include <medgen/sdk/sdk.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::maisi {

/// maisi.inpainting: the condition of a ControlNet that puts tumours into an image: the image without what is to be
/// replaced, and where which tumour goes (arXiv 2409.11169, section 4.4; after DiffTumor, Chen et al. 2024).
class Inpainting {
 public:
  static constexpr std::string_view id = "maisi.inpainting";
  static constexpr std::string_view summary = "An image with a hole and tumour planes, for an inpainting ControlNet.";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;
  static constexpr std::string_view config_schema = kInpaintingSchema;
  static constexpr std::string_view io = kInpaintingIo;

  explicit Inpainting(const sdk::Create& create);

  /// image, mask (N, 1, X, Y, Z) -> controlnet_cond (N, 1 + classes, X, Y, Z). The null condition has the hole, and no
  /// tumour.
  void encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out);
  std::string estimate(std::string_view request_json) const;

 private:
  std::vector<std::int64_t> classes_;
  float hole_;
};

}  // namespace medgen::maisi
