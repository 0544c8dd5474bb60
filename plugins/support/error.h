// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/sdk/error.hpp>

#include <fmt/format.h>

#include <utility>

namespace medgen::support {

/// The caller's fault: a config value, a tensor or a weight file is wrong. The SDK turns it into MEDGEN_E_INVALID.
/// The message says what, where, the value seen, and what to do.
class InvalidInput : public sdk::Error {
 public:
  template <typename... Args>
  explicit InvalidInput(fmt::format_string<Args...> format, Args&&... args)
      : sdk::Error(MEDGEN_E_INVALID, fmt::format(format, std::forward<Args>(args)...)) {}
};

/// Throws InvalidInput with the formatted message unless `condition` holds.
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw InvalidInput(format, std::forward<Args>(args)...);
}

}  // namespace medgen::support
