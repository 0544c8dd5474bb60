// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/relocate.h"

#include "core/config/json.h"

#include <array>
#include <string>

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

// The keys of steps whose values are paths.
constexpr std::array<const char*, 14> kPathKeys = {
    "generate", "encode", "decode",     "train", "import", "mask",     "image",
    "latent",   "to",     "perceptual", "data",  "cache",  "adapters", "case_conditions"};

/// `../labels/x.nii.gz` as seen from the new folder. Patterns are paths too.
std::string moved(const std::string& path, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (path.starts_with("@") || std::filesystem::path(path).is_absolute()) return path;
  const auto absolute = std::filesystem::absolute(from / path).lexically_normal();
  const auto relative = absolute.lexically_relative(std::filesystem::absolute(to).lexically_normal());
  return relative.empty() ? absolute.string() : relative.string();
}

/// `value` is that of the node.
void move_strings(Json& value, const ConfigNode& node, const std::filesystem::path& to) {
  if (node.is_string()) value = moved(node.as<std::string>(), node.folder(), to);
  if (!node.is_array()) return;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const ConfigNode each = node.at(i);
    const bool is_adapter = each.is_object() && each.contains("adapter");
    is_adapter ? move_strings(value[i]["adapter"], each.at("adapter"), to) : move_strings(value[i], each, to);
  }
}

/// The weights of a model that is written in line.
void move_weights(Json& model, const ConfigNode& node, const std::filesystem::path& to) {
  if (!node.is_object()) return;
  for (const auto& [key, each] : node.members())
    key == "weights" ? move_strings(model[key], each, to) : move_weights(model[key], each, to);
}

}  // namespace

Json relocated(const ConfigNode& document, const std::filesystem::path& folder) {
  Json result = document.json();
  for (const auto& [name, step] : document.at("steps").members()) {
    Json& values = result["steps"][name];
    for (const char* key : kPathKeys) {
      if (!step.contains(key)) continue;
      const ConfigNode node = step.at(key);
      Json& value = values[key];
      if (std::string_view(key) == "import") {
        for (const auto& [role, file] : node.members()) move_strings(value[role], file, folder);
      } else if (std::string_view(key) == "cache" && node.is_object()) {
        move_strings(value["folder"], node.at("folder"), folder);
      } else {
        move_strings(value, node, folder);
        move_weights(value, node, folder);
      }
    }
    if (step.contains("split") && step.at("split").contains("subjects"))
      move_strings(values["split"]["subjects"], step.at("split").at("subjects"), folder);
  }
  return result;
}

}  // namespace medgen
