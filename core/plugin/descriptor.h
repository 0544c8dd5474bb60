// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/manifest.h"

#include <medgen/abi/plugin.h>

#include <string_view>

namespace medgen {

/// The only symbol that a plugin exports.
inline constexpr const char* kEntryPoint = "medgen_plugin_v1";

/// Compares a plugin's description with its manifest as far as the host relies on it: ids, struct sizes, kinds, tables.
/// `plugin` may be anything the entry point returned, NULL included. @throws PluginError
void check_descriptor(const medgen_plugin_t* plugin, const PluginInfo& info);

/// Description of the component with this id; nullptr when the plugin has none.
const medgen_component_desc_t* find_component(const medgen_plugin_t& plugin, std::string_view id);

}  // namespace medgen
