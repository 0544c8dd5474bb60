// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/manifest.h"

namespace medgen {

/// A manifest that was found and not taken, or a folder that was not searched.
struct Rejected {
  std::filesystem::path manifest;
  std::string id;      ///< as far as it is known, from the file name; empty for a folder
  std::string reason;  ///< one sentence, and what to do
};

/// The plugins of this machine, from their manifests alone: nothing is loaded. Immutable after `scan`; any thread may
/// read it.
class Registry {
 public:
  /// Looks for `*.medgen-plugin.json`, not recursively, in this order: `extra` (--plugin-dir); the folders of
  /// MEDGEN_PLUGIN_PATH (separated by ':'; not read by a setuid program); $XDG_DATA_HOME/medgen/plugins (else
  /// ~/.local/share); plugins/, ../plugins/ and ../lib/medgen/plugins/ seen from the running binary; medgen/plugins/
  /// beside the library that holds this code; /usr/local/lib/medgen/plugins; /usr/lib/medgen/plugins. The first plugin
  /// with an id wins; later ones are listed in `rejected`. A folder that does not exist is passed over.
  static Registry scan(const std::vector<std::filesystem::path>& extra = {});
  /// The same in these folders and nowhere else.
  static Registry scan_only(const std::vector<std::filesystem::path>& folders);

  const std::vector<PluginInfo>& plugins() const { return plugins_; }

  const std::vector<Rejected>& rejected() const { return rejected_; }

  /// All folders of the search, in order, whether they exist or not.
  const std::vector<std::filesystem::path>& searched() const { return searched_; }

  /// @throws ConfigError "no component 'maisi.unit' (did you mean 'maisi.unet'?); see `medgen plugins`"; names the
  /// reason when the plugin was found and rejected.
  const ComponentInfo& component(std::string_view id) const;
  /// The same, nullptr when there is none.
  const ComponentInfo* find(std::string_view id) const;
  /// nullptr when there is none.
  const PluginInfo* plugin(std::string_view id) const;
  /// The plugin that offers a component. @throws ConfigError as `component`.
  const PluginInfo& plugin_of(std::string_view component_id) const;

  /// Text for `medgen plugins --why ID` (a plugin's or a component's id): where it was looked for, what was found, and
  /// why it was not taken. Ends with a newline.
  std::string why(std::string_view id) const;

 private:
  const PluginInfo* owner(std::string_view component_id) const;
  void add_folder(const std::filesystem::path& folder);
  void add_manifest(const std::filesystem::path& manifest);

  std::vector<std::filesystem::path> searched_;
  std::vector<PluginInfo> plugins_;
  std::vector<Rejected> rejected_;
};

}  // namespace medgen
