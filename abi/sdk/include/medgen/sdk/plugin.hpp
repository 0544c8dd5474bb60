// SPDX-License-Identifier: Apache-2.0
// The exported function of a plugin:
//
//   constexpr medgen::sdk::Plugin kPlugin{
//       .id = "my", .version = "1.0.0", .vendor = "Me", .license = "Apache-2.0", .summary = "What it offers."};
//   MEDGEN_PLUGIN(kPlugin, medgen::sdk::denoiser<MyDenoiser>, medgen::sdk::scheduler<MyScheduler>)
#pragma once

#include <medgen/sdk/component.hpp>

#include <array>
#include <string_view>

namespace medgen::sdk {

/// What a plugin says of itself. `id` is also in the names of its files: medgen-<id>.so, <id>.medgen-plugin.json.
struct Plugin {
  std::string_view id;
  std::string_view version;  ///< semantic version
  std::string_view vendor;
  std::string_view license;  ///< SPDX expression of the code
  std::string_view summary;
  std::string_view runtime = detail::kEmptyObject;  ///< {"libtorch": "2.15.0"}: shared runtimes the host loads first
  std::string_view methods = detail::kEmptyObject;  ///< {"<method id>": {...}}: assemblies of components
  /// Optional; called after the host is known and before it is forgotten. Quick; no device work.
  void (*init)() = nullptr;
  void (*shutdown)() = nullptr;
  /// Optional; plugin-wide extension tables by id.
  const void* (*extension)(const char* id)MEDGEN_NOEXCEPT = nullptr;
};

namespace detail {

template <const Plugin& plugin, const medgen_component_desc_t&... components>
struct PluginTable {
  static medgen_status_t init(const medgen_host_t* host) noexcept {
    host_pointer.store(host, std::memory_order_release);
    return guard([] {
      if constexpr (plugin.init != nullptr) plugin.init();
    });
  }

  static void shutdown() noexcept {
    guard([] {
      if constexpr (plugin.shutdown != nullptr) plugin.shutdown();
    });
    host_pointer.store(nullptr, std::memory_order_release);
  }

  static constexpr std::array<const medgen_component_desc_t*, sizeof...(components)> list{&components...};

  static constexpr medgen_plugin_t make() {
    medgen_plugin_t table{};
    table.struct_size = sizeof table;
    table.abi_minor = MEDGEN_ABI_MINOR;
    table.id = constant(plugin.id);
    table.version = constant(plugin.version);
    table.vendor = constant(plugin.vendor);
    table.license = constant(plugin.license);
    table.summary = constant(plugin.summary);
    table.runtime_json = constant(plugin.runtime);
    table.methods_json = constant(plugin.methods);
    table.component_count = list.size();
    table.components = list.data();
    table.init = &init;
    table.shutdown = &shutdown;
    table.get_extension = plugin.extension;
    return table;
  }

  static constexpr medgen_plugin_t value = make();
};

template <const Plugin& plugin, const medgen_component_desc_t&... components>
const medgen_plugin_t* entry(const medgen_query_t* query) noexcept {
  if (query == nullptr || query->abi_major != MEDGEN_ABI_MAJOR) return nullptr;
  return &PluginTable<plugin, components...>::value;
}

}  // namespace detail
}  // namespace medgen::sdk

/// MEDGEN_PLUGIN(plugin, components...): defines medgen_plugin_v1. Once in a plugin, outside of any namespace.
#define MEDGEN_PLUGIN(plugin, ...)                                                                         \
  extern "C" MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) noexcept { \
    return ::medgen::sdk::detail::entry<plugin __VA_OPT__(, ) __VA_ARGS__>(query);                         \
  }
