// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/conditions.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/config/json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>

namespace medgen {
namespace {

constexpr std::array<const char*, 2> kGridConditions = {"spacing_mm", "size"};

/// "io.functions.encode" of a conditioner; nothing when it only works at every step.
std::optional<Json> encode_io(const ComponentSpec& spec, const Registry& registry) {
  const Json io = Json::parse(registry.component(spec.component).io);
  const Json functions = io.value("functions", Json::object());
  if (!functions.is_object() || !functions.contains("encode")) return std::nullopt;
  return functions["encode"].is_object() ? functions["encode"] : Json::object();
}

}  // namespace

void check_no_grid_conditions(const ConfigNode& step) {
  if (!step.contains("conditions")) return;
  const ConfigNode conditions = step.at("conditions");
  for (const char* key : kGridConditions) {
    if (conditions.contains(key))
      conditions.at(key).fail("is not yours to give: medgen tells conditioners the grid of each sample");
  }
}

void check_conditions(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  if (!step.contains("conditions")) return;
  std::vector<std::string> known;
  for (const ComponentSpec& spec : package.conditioners()) {
    const std::optional<Json> encode = encode_io(spec, registry);
    if (!encode) continue;
    if (!encode->contains("params")) return;
    for (const auto& [name, about] : encode->at("params").items()) known.push_back(name);
  }
  std::erase_if(known, [](const std::string& name) {
    return std::find(kGridConditions.begin(), kGridConditions.end(), name) != kGridConditions.end();
  });
  for (const auto& [key, value] : step.at("conditions").members()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw ConfigError("{}: {} is no condition of model '{}'{}; it takes: {}", value.where_key(), value.path(),
                      package.name(), did_you_mean(key, known),
                      known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
  }
}

const ComponentSpec* conditioner_in_want_of_mask(const ModelPackage& package, const Registry& registry) {
  for (const ComponentSpec& spec : package.conditioners()) {
    const Json encode = encode_io(spec, registry).value_or(Json::object());
    const Json in = encode.value("in", Json::object());
    const bool optional = !in.contains("mask") || (in["mask"].is_object() && in["mask"].value("optional", false));
    if (!optional) return &spec;
    if (encode.value("out", Json::object()).contains("mask")) return nullptr;
  }
  return nullptr;
}

void check_mask_given(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  if (step.contains("mask")) return;
  if (const ComponentSpec* spec = conditioner_in_want_of_mask(package, registry))
    step.fail("has no \"mask\", but the conditioner '{}' ({}) of model '{}' needs a label map", spec->role,
              spec->component, package.name());
}

}  // namespace medgen
