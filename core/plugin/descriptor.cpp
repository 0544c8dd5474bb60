// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/descriptor.h"

#include "core/base/error.h"
#include "core/plugin/abi_text.h"

namespace medgen {
namespace {

constexpr std::uint64_t kMaxComponents = 1000;
constexpr std::uint64_t kMaxTextBytes = 16 << 20;

bool is_sane(medgen_str_t text) {
  return text.len == 0 || (text.ptr != nullptr && text.len <= kMaxTextBytes);
}

/// What is wrong with a plugin's own fields, or nothing.
std::string plugin_problem(const medgen_plugin_t& plugin) {
  if (!MEDGEN_HAS(medgen_plugin_t, &plugin, shutdown)) {
    return fmt::format("its description is {} bytes long, at least {} are needed", plugin.struct_size,
                       offsetof(medgen_plugin_t, shutdown) + sizeof plugin.shutdown);
  }
  for (const medgen_str_t text : {plugin.id, plugin.version, plugin.vendor, plugin.license, plugin.summary,
                                  plugin.runtime_json, plugin.methods_json}) {
    if (!is_sane(text)) return "a string of its description is NULL or too long";
  }
  if (plugin.init == nullptr || plugin.shutdown == nullptr) return "it has no init or no shutdown";
  if (plugin.component_count > kMaxComponents || (plugin.component_count > 0 && plugin.components == nullptr)) {
    return fmt::format("it claims {} components without listing them", plugin.component_count);
  }
  return {};
}

std::string component_problem(const medgen_component_desc_t* desc) {
  if (desc == nullptr) return "a component's description is NULL";
  if (!MEDGEN_HAS(medgen_component_desc_t, desc, interface)) {
    return fmt::format("a component's description is {} bytes long, at least {} are needed", desc->struct_size,
                       offsetof(medgen_component_desc_t, interface) + sizeof desc->interface);
  }
  for (const medgen_str_t text : {desc->id, desc->kind, desc->summary, desc->config_schema_json, desc->io_json}) {
    if (!is_sane(text)) return "a string of a component's description is NULL or too long";
  }
  const std::string id = message_text(desc->id);
  if (desc->base == nullptr || desc->interface == nullptr) return fmt::format("component '{}' lacks a table", id);
  if (!MEDGEN_HAS(medgen_component_t, desc->base, destroy) || desc->base->create == nullptr ||
      desc->base->destroy == nullptr) {
    return fmt::format("component '{}' has no create or no destroy", id);
  }
  // All interface tables start alike: struct_size, reserved0.
  if (*static_cast<const std::uint32_t*>(desc->interface) < 2 * sizeof(std::uint32_t)) {
    return fmt::format("the {} table of component '{}' is too small", message_text(desc->kind), id);
  }
  return {};
}

/// A component that the manifest lists and the plugin does not have, or has as something else.
std::string manifest_problem(const medgen_plugin_t& plugin, const ComponentInfo& info) {
  const medgen_component_desc_t* desc = find_component(plugin, info.id);
  if (desc == nullptr)
    return fmt::format("its manifest lists component '{}', the library has none of that id", info.id);
  if (raw_text(desc->kind) != info.kind) {
    return fmt::format("component '{}' is a {} in its manifest and a {} in the library", info.id, info.kind,
                       message_text(desc->kind));
  }
  return {};
}

std::string find_problem(const medgen_plugin_t* plugin, const PluginInfo& info) {
  if (plugin == nullptr) {
    return fmt::format("it does not offer ABI {}: install a build for this medgen", MEDGEN_ABI_MAJOR);
  }
  if (std::string problem = plugin_problem(*plugin); !problem.empty()) return problem;
  if (raw_text(plugin->id) != info.id) {
    return fmt::format("the library calls itself '{}'", message_text(plugin->id));
  }
  for (std::uint64_t i = 0; i < plugin->component_count; ++i) {
    if (std::string problem = component_problem(plugin->components[i]); !problem.empty()) return problem;
  }
  for (const ComponentInfo& component : info.components) {
    if (std::string problem = manifest_problem(*plugin, component); !problem.empty()) return problem;
  }
  return {};
}

}  // namespace

void check_descriptor(const medgen_plugin_t* plugin, const PluginInfo& info) {
  if (const std::string problem = find_problem(plugin, info); !problem.empty()) {
    throw PluginError("plugin '{}' ({}) is refused: {}; `medgen check-plugin` tells its author more", info.id,
                      info.library.string(), problem);
  }
}

const medgen_component_desc_t* find_component(const medgen_plugin_t& plugin, std::string_view id) {
  for (std::uint64_t i = 0; i < plugin.component_count; ++i) {
    if (raw_text(plugin.components[i]->id) == id) return plugin.components[i];
  }
  return nullptr;
}

}  // namespace medgen
