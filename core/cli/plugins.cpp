// SPDX-License-Identifier: Apache-2.0
// medgen plugins

#include "core/cli/command.h"
#include "core/cli/console.h"
#include "core/inspect/inspect.h"

#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

struct PluginsOptions {
  std::string why;
};

void print_why(const Registry& registry, const std::string& id, const Invocation& call) {
  if (!call.json) return print(registry.why(id));
  print_json({{"id", id}, {"found", registry.plugin(id) != nullptr}, {"why", registry.why(id)}});
}

void print_table(const Registry& registry) {
  std::vector<std::vector<std::string>> rows = {{"PLUGIN", "VERSION", "LICENSE", "COMPONENTS"}};
  for (const PluginInfo& plugin : registry.plugins()) {
    std::string components;
    for (const ComponentInfo& component : plugin.components)
      components += (components.empty() ? "" : " ") + component.id;
    rows.push_back({plugin.id, plugin.version, plugin.license, components});
  }
  print(printable(table(rows)));
}

void plugins(const PluginsOptions& options, const Invocation& call) {
  const Registry registry = call.registry();
  if (!options.why.empty()) return print_why(registry, options.why, call);
  if (call.json) return print_json(plugins_document(registry));
  print_table(registry);
  Reporter reporter(ProgressStyle::None, call.log_level());
  if (registry.plugins().empty())
    reporter.log(LogLevel::Warning, "no plugins were found; see `medgen plugins --why ID`");
  for (const Rejected& rejected : registry.rejected()) {
    reporter.log(LogLevel::Warning, fmt::format("{} was not taken: {}", rejected.manifest.string(), rejected.reason));
  }
}

void configure_plugins(CLI::App& app, Invocation& call) {
  const auto options = std::make_shared<PluginsOptions>();
  app.add_option("--why", options->why, "Say where ID was looked for, and why it was taken or not")->type_name("ID");
  add_plugin_dir_option(app, call);
  add_json_option(app, call);
  app.callback([options, &call] { plugins(*options, call); });
}

}  // namespace

const Command kPluginsCommand = {"plugins", "List the plugins that are installed, and those that were not taken.",
                                 "%\n"
                                 "% --why maisi\n"
                                 "% --plugin-dir build/release/plugins --json",
                                 configure_plugins};

}  // namespace medgen::cli
