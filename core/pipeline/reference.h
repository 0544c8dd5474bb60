// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"

#include <set>
#include <string>
#include <string_view>

namespace medgen {

/// Steps whose samples another step can read.
inline const std::set<std::string_view> kSampleVerbs = {"generate", "encode", "decode"};

/// Those whose samples are latents.
inline const std::set<std::string_view> kLatentVerbs = {"encode"};

/// Whether the value is "@step".
inline bool is_reference(const ConfigNode& node) {
  return node.is_string() && node.as<std::string>().starts_with("@");
}

/// The name of the step.
inline std::string referenced(const ConfigNode& node) {
  return node.as<std::string>().substr(1);
}

}  // namespace medgen
