// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/config/node.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>

namespace medgen {

/// The pipeline with its relative paths rewritten so that they hold from another folder: what run.json contains.
Json relocated(const ConfigNode& document, const std::filesystem::path& folder);

}  // namespace medgen
