// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/sdk/propagator.hpp>

#include <optional>
#include <string_view>
#include <vector>

namespace medgen::propagators {

/// The whole array in one window.
class Whole {
 public:
  static constexpr std::string_view id = "propagator.whole";
  static constexpr std::string_view summary = "Covers the whole array in one window.";
  static constexpr std::string_view config_schema =
      R"({"type": "object", "additionalProperties": false, "properties": {}})";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  class Cover {
   public:
    /// @throws sdk::Error for an array without elements or with more than four axes.
    explicit Cover(const sdk::CoverRequest& request);

    std::optional<sdk::Window> next(const sdk::Context& context);
    void accept(const sdk::Context& context, const sdk::Window& window, const sdk::TensorView& result);
    /// Writes "x" (C, shape...) float32. @throws sdk::Error (MEDGEN_E_STATE) before the window was accepted.
    void finish(const sdk::Context& context, sdk::Outputs& out);

   private:
    sdk::Shape shape_;  ///< channels, then the spatial axes
    bool given_ = false;
    std::vector<float> result_;
  };

  explicit Whole(const sdk::Create&) {}

  Cover begin(const sdk::Context&, const sdk::CoverRequest& request) const { return Cover(request); }

  std::uint64_t count(const sdk::CoverRequest&) const { return 1; }
};

}  // namespace medgen::propagators
