// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/model.h"

namespace medgen {

/// The component that `node` describes: "component", "config", "sha256", and "weights" relative to the document.
/// @throws ConfigError when its weights are no file.
ComponentSpec read_component(const std::string& role, const ConfigNode& node);

}  // namespace medgen
