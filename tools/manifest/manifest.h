// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/plugin.h>

#include <nlohmann/json_fwd.hpp>

#include <filesystem>

namespace medgen::manifest {

/// The manifest of a plugin as JSON, without "library" and "sha256".
/// @throws std::runtime_error that names the field (or component and field) which is missing, no JSON, or
/// contradictory.
nlohmann::ordered_json describe(const medgen_plugin_t& plugin);

/// Loads a plugin library and asks for its descriptor, which lives for the process.
/// @throws std::runtime_error when the file is no shared library, exports no medgen_plugin_v1, or refuses ABI major 1.
const medgen_plugin_t& load(const std::filesystem::path& library);

}  // namespace medgen::manifest
