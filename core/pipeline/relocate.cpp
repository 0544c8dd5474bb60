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

void move_strings(Json& value, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (value.is_string()) value = moved(value.get<std::string>(), from, to);
  if (value.is_array()) {
    for (Json& element : value) {
      move_strings(element.is_object() && element.contains("adapter") ? element["adapter"] : element, from, to);
    }
  }
}

/// The weights of a model that is written in line.
void move_weights(Json& model, const std::filesystem::path& from, const std::filesystem::path& to) {
  if (!model.is_object()) return;
  for (auto& [key, value] : model.items()) {
    if (key == "weights") {
      move_strings(value, from, to);
    } else {
      move_weights(value, from, to);
    }
  }
}

}  // namespace

Json relocated(const ConfigNode& document, const std::filesystem::path& folder) {
  Json result = document.json();
  for (auto& [name, step] : result["steps"].items()) {
    for (const char* key : kPathKeys) {
      if (!step.contains(key)) continue;
      Json& value = step[key];
      if (std::string_view(key) == "import") {
        for (auto& [role, file] : value.items()) move_strings(file, document.folder(), folder);
      } else if (std::string_view(key) == "cache" && value.is_object()) {
        move_strings(value["folder"], document.folder(), folder);
      } else {
        move_strings(value, document.folder(), folder);
        move_weights(value, document.folder(), folder);
      }
    }
    if (step.contains("split") && step["split"].contains("subjects"))
      move_strings(step["split"]["subjects"], document.folder(), folder);
  }
  return result;
}

}  // namespace medgen
