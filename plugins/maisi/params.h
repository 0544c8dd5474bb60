// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/sdk/tensor.hpp>
#include <nlohmann/json.hpp>

namespace medgen::maisi {

/// The scalars of a call as an object, which is empty when none were given.
inline nlohmann::json params_of(const sdk::Binds& in) {
  return in.params().empty() ? nlohmann::json::object() : nlohmann::json::parse(in.params());
}

}  // namespace medgen::maisi
