// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/import_step.h"

#include "core/base/text.h"
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/pipeline/model.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

/// The entries of an option by role, none when it is missing.
std::vector<ConfigNode::Member> by_role(const ConfigNode& step, std::string_view option) {
  return step.contains(option) ? step.at(option).members() : std::vector<ConfigNode::Member>{};
}

}  // namespace

ImportOptions import_options(const ConfigNode& step) {
  ImportOptions options;
  options.method = step.get<std::string>("method");
  for (const auto& [role, file] : by_role(step, "import")) options.files[role] = resolve_path(file);
  for (const auto& [role, config] : by_role(step, "config")) options.configs[role] = dump_compact(config.json());
  for (const auto& [role, key] : by_role(step, "key")) options.keys[role] = key.as<std::string>();
  for (const auto& [role, prefix] : by_role(step, "prefix")) options.prefixes[role] = prefix.as<std::string>();
  if (step.contains("latent_scale")) options.latent_scale = step.at("latent_scale").as<double>();
  options.name = step.get<std::string>("name", "");
  options.license = step.get<std::string>("license", "");
  options.credit = step.get<std::string>("credit", "");
  options.to = resolve_path(step.at("to"));
  return options;
}

void check_import(const ConfigNode& step, Host& host) {
  // The method is looked up here, where its place in the pipeline is known.
  const ModelPackage plain =
      ModelPackage::load(step.with_value(Json{{"method", step.at("method").json()}}), host.registry());
  std::vector<std::string> roles;
  for (const ComponentSpec& spec : plain.all()) roles.push_back(spec.role);
  for (const char* option : {"import", "config", "key", "prefix"}) {
    for (const auto& [role, value] : by_role(step, option)) {
      if (std::find(roles.begin(), roles.end(), role) == roles.end())
        value.fail("is for a component that method '{}' does not have{}; it has: {}", step.get<std::string>("method"),
                   did_you_mean(role, roles), fmt::join(roles, ", "));
      const bool of_file = option == std::string_view("key") || option == std::string_view("prefix");
      if (of_file && !step.at("import").contains(role)) value.fail("is for a file that \"import\" does not name");
    }
  }
  check_configs(host, package_to_import(import_options(step), host.registry(), step));
}

void check_import_files(const ConfigNode& step) {
  for (const auto& [role, file] : by_role(step, "import")) {
    if (const auto path = resolve_path(file); !std::filesystem::is_regular_file(path))
      file.fail("names no file: '{}'", path.string());
  }
  check_free(import_options(step));
}

}  // namespace medgen
