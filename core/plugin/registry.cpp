// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/registry.h"

#include "core/base/error.h"
#include "core/base/text.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>

namespace medgen {
namespace {

namespace fs = std::filesystem;

/// Environment variables choose code to run, so a setuid program does not read them.
std::string environment(const char* name) {
  const char* value = ::secure_getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// The folders of a list joined by ':', empty ones left out.
std::vector<fs::path> path_list(std::string_view list) {
  std::vector<fs::path> folders;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(':'), list.size());
    if (end > 0) folders.emplace_back(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return folders;
}

void append_user_folder(std::vector<fs::path>& folders) {
  if (const fs::path data = environment("XDG_DATA_HOME"); data.is_absolute()) {
    folders.push_back(data / "medgen/plugins");
  } else if (const fs::path home = environment("HOME"); home.is_absolute()) {
    folders.push_back(home / ".local/share/medgen/plugins");
  }
}

void append_installed_folders(std::vector<fs::path>& folders) {
  std::error_code error;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", error); !error) {
    const fs::path bin = program.parent_path();
    folders.push_back(bin / "plugins");
    folders.push_back(bin.parent_path() / "plugins");
    folders.push_back(bin.parent_path() / "lib/medgen/plugins");
  }
  Dl_info where{};
  if (::dladdr(reinterpret_cast<const void*>(&read_manifest), &where) != 0 && where.dli_fname != nullptr) {
    // Of a program the name is how it was called, which may be relative and then says nothing about where it lies.
    const fs::path library = where.dli_fname;
    if (library.is_absolute()) folders.push_back(fs::weakly_canonical(library, error).parent_path() / "medgen/plugins");
  }
  folders.emplace_back("/usr/local/lib/medgen/plugins");
  folders.emplace_back("/usr/lib/medgen/plugins");
}

std::string id_of_file(const fs::path& manifest) {
  const std::string name = manifest.filename().string();
  return name.substr(0, name.size() - kManifestSuffix.size());
}

std::vector<fs::path> manifests_in(const fs::path& folder) {
  std::vector<fs::path> manifests;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.size() > kManifestSuffix.size() && name.ends_with(kManifestSuffix)) manifests.push_back(entry->path());
  }
  std::sort(manifests.begin(), manifests.end());
  return manifests;
}

/// "maisi" of "maisi.unet": the plugin one would look for.
std::string_view family_of(std::string_view component_id) {
  const std::size_t dot = component_id.rfind('.');
  return dot == std::string_view::npos ? component_id : component_id.substr(0, dot);
}

const ComponentInfo* find_component(const PluginInfo& plugin, std::string_view id) {
  const auto& all = plugin.components;
  const auto found = std::find_if(all.begin(), all.end(), [&](const ComponentInfo& c) { return c.id == id; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

Registry Registry::scan(const std::vector<fs::path>& extra) {
  std::vector<fs::path> folders;
  for (const fs::path& folder : extra) folders.push_back(fs::absolute(folder));
  std::vector<Rejected> relative;
  for (const fs::path& folder : path_list(environment("MEDGEN_PLUGIN_PATH"))) {
    if (folder.is_absolute()) {
      folders.push_back(folder);
    } else {
      relative.push_back({folder, "",
                          "MEDGEN_PLUGIN_PATH wants absolute folders; a relative one would mean another "
                          "wherever a program is started"});
    }
  }
  append_user_folder(folders);
  append_installed_folders(folders);
  Registry registry = scan_only(folders);
  registry.rejected_.insert(registry.rejected_.begin(), relative.begin(), relative.end());
  return registry;
}

Registry Registry::scan_only(const std::vector<fs::path>& folders) {
  Registry registry;
  for (const fs::path& folder : folders) {
    const fs::path tidy = folder.lexically_normal();
    if (std::find(registry.searched_.begin(), registry.searched_.end(), tidy) != registry.searched_.end()) continue;
    registry.searched_.push_back(tidy);
    registry.add_folder(tidy);
  }
  return registry;
}

void Registry::add_folder(const fs::path& folder) {
  for (const fs::path& manifest : manifests_in(folder)) add_manifest(manifest);
}

void Registry::add_manifest(const fs::path& manifest) {
  const std::string file_id = id_of_file(manifest);
  try {
    PluginInfo info = read_manifest(manifest);
    if (info.id != file_id) {
      throw ConfigError("it describes plugin '{}': rename the file to {}{}", info.id, info.id, kManifestSuffix);
    }
    if (const PluginInfo* taken = plugin(info.id)) {
      throw ConfigError("plugin '{}' was already found at {}: remove one of them", info.id, taken->manifest.string());
    }
    for (const ComponentInfo& component : info.components) {
      if (const PluginInfo* taken = owner(component.id)) {
        throw ConfigError("its component '{}' is already offered by plugin '{}' at {}: remove one of them",
                          component.id, taken->id, taken->manifest.string());
      }
    }
    plugins_.push_back(std::move(info));
  } catch (const Error& error) {
    rejected_.push_back({manifest, file_id, error.what()});
  } catch (const std::exception& error) {
    rejected_.push_back({manifest, file_id, fmt::format("it cannot be read: {}", error.what())});
  }
}

const PluginInfo* Registry::plugin(std::string_view id) const {
  const auto found = std::find_if(plugins_.begin(), plugins_.end(), [&](const PluginInfo& p) { return p.id == id; });
  return found == plugins_.end() ? nullptr : &*found;
}

const PluginInfo* Registry::owner(std::string_view component_id) const {
  const auto found = std::find_if(plugins_.begin(), plugins_.end(), [&](const PluginInfo& plugin) {
    return find_component(plugin, component_id) != nullptr;
  });
  return found == plugins_.end() ? nullptr : &*found;
}

const PluginInfo& Registry::plugin_of(std::string_view component_id) const {
  if (const PluginInfo* plugin = owner(component_id)) return *plugin;
  for (const Rejected& rejected : rejected_) {
    if (rejected.id == family_of(component_id) && plugin(rejected.id) == nullptr) {
      throw ConfigError("no component '{}': its plugin was found and not taken: {}: {}", component_id,
                        rejected.manifest.string(), rejected.reason);
    }
  }
  std::vector<std::string> known;
  for (const PluginInfo& plugin : plugins_) {
    for (const ComponentInfo& component : plugin.components) known.push_back(component.id);
  }
  throw ConfigError("no component '{}'{}; `medgen plugins` lists those there are", component_id,
                    did_you_mean(component_id, known));
}

const ComponentInfo& Registry::component(std::string_view id) const {
  return *find_component(plugin_of(id), id);
}

const ComponentInfo* Registry::find(std::string_view id) const {
  const PluginInfo* plugin = owner(id);
  return plugin == nullptr ? nullptr : find_component(*plugin, id);
}

std::string Registry::why(std::string_view id) const {
  const PluginInfo* by_component = owner(id);
  const auto concerns = [&](std::string_view plugin_id) { return plugin_id == id || plugin_id == family_of(id); };
  std::string text;
  for (const PluginInfo& plugin : plugins_) {
    if (!concerns(plugin.id) && &plugin != by_component) continue;
    text += fmt::format("plugin '{}' {} is taken from {}\n", plugin.id, plugin.version, plugin.manifest.string());
    if (plugin.id != id)
      text += fmt::format("  it offers {}component '{}'\n", by_component == &plugin ? "" : "no ", id);
  }
  for (const Rejected& rejected : rejected_) {
    if (rejected.id.empty() || concerns(rejected.id))
      text += fmt::format("not taken: {}\n  {}\n", rejected.manifest.string(), rejected.reason);
  }
  if (text.empty()) text = fmt::format("no manifest tells of '{}'\n", id);
  text += "searched, in this order:\n";
  std::error_code error;
  for (const fs::path& folder : searched_) {
    text += fmt::format("  {}{}\n", folder.string(), fs::is_directory(folder, error) ? "" : " (no such folder)");
  }
  return text;
}

}  // namespace medgen
