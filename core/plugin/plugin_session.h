// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/manifest.h"
#include "core/plugin/services.h"

#include <medgen/abi/plugin.h>

#include <memory>
#include <mutex>
#include <string_view>

namespace medgen {

struct LoadedLibrary;

/// A plugin that is loaded, checked and initialised, as one Host uses it. Shared by the host and every object made from
/// it; when the last session of the process ends, the plugin is shut down. It stays mapped.
class PluginSession {
 public:
  /// Loads the library when no session did before: checks its hash, loads the runtimes it names, opens it with
  /// RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE, and compares what it says with `info`. A hash is no protection against
  /// somebody who can write the file between the check and the load: folders of plugins must be trusted.
  /// @throws PluginError with the plugin's id, the library's path, the reason, and what to do. A library that failed
  /// after it was mapped is refused with the same words for the rest of the process.
  PluginSession(const PluginInfo& info, std::shared_ptr<HostServices> host);
  ~PluginSession();
  PluginSession(const PluginSession&) = delete;
  PluginSession& operator=(const PluginSession&) = delete;

  const medgen_plugin_t& plugin() const;

  PluginServices& services() const { return *services_; }

  /// Held around calls that are serial on the whole plugin.
  std::recursive_mutex& mutex() const;

 private:
  std::shared_ptr<PluginServices> services_;
  LoadedLibrary* library_ = nullptr;
};

}  // namespace medgen
