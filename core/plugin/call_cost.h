// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/cost.h"

#include <string>
#include <string_view>

namespace medgen {

/// {"function": ..., "inputs": {name: shape}}
std::string estimate_request(std::string_view function, const ShapeMap& inputs);

/// What a plugin replied. Keys that are not known are passed over: newer plugins may tell more.
/// @throws ConfigError for no JSON object, no "peak_bytes", and numbers that are negative, no numbers or too large.
CallCost read_call_cost(const std::string& reply);

}  // namespace medgen
