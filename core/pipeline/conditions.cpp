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

constexpr std::array<const char*, 4> kHostConditions = {"spacing_mm", "size", "samples", kLabelVolumes};

constexpr const char* kHostTells =
    "is not yours to give: medgen tells conditioners the grid of each sample, and the data";

bool is_host_condition(const std::string& name) {
  return std::find(kHostConditions.begin(), kHostConditions.end(), name) != kHostConditions.end();
}

/// "io.functions.encode" of a conditioner; nothing when it only works at every step.
std::optional<Json> encode_io(const ComponentSpec& spec, const Registry& registry) {
  const Json io = Json::parse(info_of(spec, registry).io);
  const Json functions = io.value("functions", Json::object());
  if (!functions.is_object() || !functions.contains("encode")) return std::nullopt;
  return functions["encode"].is_object() ? functions["encode"] : Json::object();
}

/// The names that a model's conditioners take from the user; nothing when one of them takes any.
std::optional<std::vector<std::string>> known_conditions(const ModelPackage& package, const Registry& registry) {
  std::vector<std::string> known;
  for (const ComponentSpec& spec : package.conditioners()) {
    const std::optional<Json> encode = encode_io(spec, registry);
    if (!encode) continue;
    if (!encode->contains("params")) return std::nullopt;
    for (const auto& [name, about] : encode->at("params").items()) known.push_back(name);
  }
  std::erase_if(known, is_host_condition);
  return known;
}

std::string not_among(const std::string& name, const ModelPackage& package, const std::vector<std::string>& known) {
  return fmt::format("is no condition of model '{}'{}; it takes: {}", package.name(), did_you_mean(name, known),
                     known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
}

}  // namespace

void check_no_host_conditions(const ConfigNode& step) {
  if (!step.contains("conditions")) return;
  const ConfigNode conditions = step.at("conditions");
  for (const char* key : kHostConditions) {
    if (conditions.contains(key)) conditions.at(key).fail("{}", kHostTells);
  }
}

void check_conditions(const ConfigNode& step, const ModelPackage& package, const Registry& registry,
                      const ModelPackage* masks) {
  if (!step.contains("conditions")) return;
  const auto taken = known_conditions(package, registry);
  const auto of_masks =
      masks == nullptr ? std::optional(std::vector<std::string>{}) : known_conditions(*masks, registry);
  if (!taken || !of_masks) return;
  std::vector<std::string> known = *taken;
  known.insert(known.end(), of_masks->begin(), of_masks->end());
  for (const auto& [key, value] : step.at("conditions").members()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw ConfigError("{}: {} {}", value.where_key(), value.path(), not_among(key, package, known));
  }
}

std::optional<std::string> condition_problem(const std::string& name, const ModelPackage& package,
                                             const Registry& registry) {
  if (is_host_condition(name)) return kHostTells;
  const auto known = known_conditions(package, registry);
  if (!known || std::find(known->begin(), known->end(), name) != known->end()) return std::nullopt;
  return not_among(name, package, *known);
}

bool takes_condition(const std::string& name, const ModelPackage& package, const Registry& registry) {
  return std::any_of(package.conditioners().begin(), package.conditioners().end(), [&](const ComponentSpec& spec) {
    const Json encode = encode_io(spec, registry).value_or(Json::object());
    return encode.value("params", Json::object()).contains(name);
  });
}

std::optional<ModelPackage> mask_maker(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  if (!step.contains("generate") || step.contains("mask")) return std::nullopt;
  return mask_maker(package, registry);
}

std::optional<ModelPackage> mask_maker(const ModelPackage& package, const Registry& registry) {
  if (!package.mask_generator()) return std::nullopt;
  const ConfigNode& node = *package.mask_generator();
  ModelPackage maker = ModelPackage::load(node, registry);
  if (!maker.contract().makes_labels()) node.fail("names model '{}', which makes no label maps", maker.name());
  if (const ComponentSpec* spec = conditioner_in_want_of_mask(maker, registry))
    node.fail("names model '{}', whose conditioner '{}' ({}) wants a label map itself", maker.name(), spec->role,
              spec->component);
  return maker;
}

Json conditions_taken(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  Json conditions = step.contains("conditions") ? step.at("conditions").json() : Json::object();
  const auto known = known_conditions(package, registry);
  if (!known) return conditions;
  Json taken = Json::object();
  for (const std::string& name : *known) {
    if (conditions.contains(name)) taken[name] = conditions[name];
  }
  return taken;
}

bool takes_scalars_alone(const ComponentSpec& conditioner, const Registry& registry, bool with_mask) {
  const std::optional<Json> encode = encode_io(conditioner, registry);
  if (!encode || encode->value("params", Json::object()).empty()) return false;
  const Json inputs = encode->value("in", Json::object());
  for (const auto& [name, about] : inputs.items()) {
    const bool optional = about.is_object() && about.value("optional", false);
    if (!optional || (with_mask && name == "mask")) return false;
  }
  return true;
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
  if (step.contains("mask") || package.mask_generator()) return;
  if (const ComponentSpec* spec = conditioner_in_want_of_mask(package, registry))
    step.fail("has no \"mask\", but the conditioner '{}' ({}) of model '{}' needs a label map", spec->role,
              spec->component, package.name());
}

const ComponentSpec* conditioner_with_input(const ModelPackage& package, const Registry& registry, const char* name) {
  const ComponentSpec* taker = nullptr;
  for (const ComponentSpec& spec : package.conditioners()) {
    const Json encode = encode_io(spec, registry).value_or(Json::object());
    if (encode.value("in", Json::object()).contains(name)) taker = &spec;
  }
  return taker;
}

void check_image_given(const ConfigNode& step, const ModelPackage& package, const Registry& registry) {
  const ComponentSpec* taker = conditioner_with_input(package, registry, "image");
  if (taker != nullptr && !step.contains("image"))
    step.fail("has no \"image\", but the conditioner '{}' ({}) of model '{}' puts something into one", taker->role,
              taker->component, package.name());
  if (taker == nullptr && step.contains("image"))
    step.at("image").fail("is given, but model '{}' takes no image", package.name());
}

}  // namespace medgen
