// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/import.h"

#include "core/base/text.h"
#include "core/config/json.h"
#include "core/pipeline/imported_file.h"
#include "core/pipeline/package_writer.h"
#include "core/weights/key_report.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

/// What the component needs, from its own description; nothing is asked of the file.
struct Needed {
  std::vector<WeightSpec> weights;
  std::vector<std::string> ignored;
};

Needed needed_weights(const Component& component) {
  const Json facts = Json::parse(component.describe());
  if (!facts.contains("weights")) throw ConfigError("{} takes no weights", component.id());
  Needed needed;
  for (const Json& weight : facts["weights"]) {
    needed.weights.push_back({weight.at("name").get<std::string>(), weight.at("shape").get<Shape>(), DType::F32});
  }
  for (const Json& pattern : facts.value("ignored_weights", Json::array()))
    needed.ignored.push_back(pattern.get<std::string>());
  return needed;
}

Json model_description(const ImportOptions& options) {
  Json description = {{"medgen_model", 1}, {"method", options.method}};
  if (!options.name.empty()) description["name"] = options.name;
  if (!options.license.empty()) description["license"] = options.license;
  if (!options.credit.empty()) description["credit"] = options.credit;
  return description;
}

/// The method's description with the caller's constructor arguments laid over its configs.
ModelPackage described_model(const ImportOptions& options, const Registry& registry) {
  ModelPackage plain = ModelPackage::load(ConfigNode::make(model_description(options), "import"), registry);
  if (options.configs.empty()) return plain;
  Json description = plain.json();
  for (const auto& [role, config] : options.configs) {
    Json& components = description["components"];
    if (!plain.part(role) && !components.value("conditioners", Json::object()).contains(role)) {
      throw ConfigError("method '{}' has no component '{}' to configure", options.method, role);
    }
    Json& component = plain.part(role) ? components[role] : components["conditioners"][role];
    component["config"].update(Json::parse(config));
  }
  return ModelPackage::load(ConfigNode::make(std::move(description), "import"), registry);
}

const ComponentSpec& component_for(const std::vector<ComponentSpec>& all, const std::string& role,
                                   const std::string& method) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const ComponentSpec& spec) { return spec.role == role; });
  if (found != all.end()) return *found;
  std::vector<std::string> roles;
  for (const ComponentSpec& spec : all) roles.push_back(spec.role);
  throw ConfigError("method '{}' has no component '{}'{}; it has: {}", method, role, did_you_mean(role, roles),
                    fmt::join(roles, ", "));
}

template <typename Map>
typename Map::mapped_type value_or_empty(const Map& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? typename Map::mapped_type{} : found->second;
}

}  // namespace

LoadOptions ImportOptions::load_options(const std::string& role) const {
  LoadOptions load;
  if (const auto key = value_or_empty(keys, role); !key.empty()) load.key = key;
  load.strip_prefix = value_or_empty(prefixes, role);
  return load;
}

std::string import_model(Host& host, const ImportOptions& options, const RunObserver& observer) {
  if (std::filesystem::exists(options.to / "model.json")) {
    throw DataError("'{}' already holds a model package; choose another folder or delete it", options.to.string());
  }
  const ModelPackage package = described_model(options, host.registry());
  const std::vector<ComponentSpec> all = package.all();
  std::map<std::string, TensorMap> weights;
  Json provenance = {{"medgen_version", MEDGEN_VERSION}, {"files", Json::object()}};
  std::optional<double> latent_scale = options.latent_scale;
  std::string report;
  for (const auto& [role, file] : options.files) {
    observer.check_cancelled();
    const ComponentSpec& spec = component_for(all, role, options.method);
    const State state = load_state(file, options.load_options(role));

    const Needed needed = needed_weights(*create_component(host, spec));
    const KeyReport keys = match_keys(needed.weights, state.tensors, needed.ignored);
    require_match(keys, fmt::format("'{}' as {} ({})", file.string(), role, spec.component));
    TensorMap& taken = weights[role];
    for (const WeightSpec& weight : needed.weights) {
      const Tensor& tensor = taken[weight.name] = state.tensors.at(weight.name);
      require_finite(file, weight.name, tensor, "checkpoint");
    }
    if (role == "denoiser" && !latent_scale) latent_scale = state.number("scale_factor");
    provenance["files"][role] = imported_file(file, state);
    report += fmt::format("{}: {} weights of '{}' ({}, state dict at '{}'{}){}\n", role, keys.matched,
                          file.filename().string(), state.format, state.key,
                          state.stripped_prefix.empty() ? "" : ", without the prefix '" + state.stripped_prefix + "'",
                          keys.ignored.empty() ? "" : fmt::format(", {} unused ones ignored", keys.ignored.size()));
  }
  if (!latent_scale && weights.contains("denoiser") && package.part("compressor")) {
    report += fmt::format(
        "denoiser: the file records no \"scale_factor\", so the latent scale is {}; set it if the network was trained "
        "with another\n",
        package.latent_scale());
  }
  write_model_package(package, options.to, weights, latent_scale.value_or(package.latent_scale()), "import",
                      provenance);
  for (const ComponentSpec& spec : all) {
    const bool wants = Json::parse(create_component(host, spec)->describe()).contains("weights");
    if (wants && !weights.contains(spec.role))
      report += fmt::format("{}: no file was given; the model cannot use it yet\n", spec.role);
  }
  return report + fmt::format("written: '{}'\n", (options.to / "model.json").string());
}

}  // namespace medgen
