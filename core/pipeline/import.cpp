// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/import.h"

#include "core/base/file.h"
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

/// What decides the package: all that the options say, and what is in the files.
/// @param hashes  the sha256 of each file, by role
std::string request_of(const ImportOptions& options, const std::map<std::string, std::string>& hashes) {
  Json request = {
      {"method", options.method},   {"name", options.name}, {"license", options.license},   {"credit", options.credit},
      {"configs", options.configs}, {"keys", options.keys}, {"prefixes", options.prefixes}, {"files", hashes}};
  if (options.latent_scale) request["latent_scale"] = *options.latent_scale;
  return content_hash(request);
}

}  // namespace

ModelPackage package_to_import(const ImportOptions& options, const Registry& registry, const ConfigNode& place) {
  ModelPackage plain = ModelPackage::load(place.with_value(model_description(options)), registry);
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
  return ModelPackage::load(place.with_value(std::move(description)), registry);
}

bool check_free(const ImportOptions& options) {
  constexpr std::uint64_t kMostBytes = 1 << 28;
  const auto file = options.to / "model.json";
  if (!std::filesystem::exists(file)) return true;
  const Json description = Json::parse(read_file(file, kMostBytes), nullptr, false);
  const auto request = "/provenance/import/request"_json_pointer;
  if (description.is_object() && description.contains(request)) {
    std::map<std::string, std::string> hashes;
    for (const auto& [role, path] : options.files) hashes[role] = sha256_file(path);
    if (description.at(request) == request_of(options, hashes)) return false;
  }
  throw DataError("'{}' already holds a model package; choose another folder or delete it", options.to.string());
}

LoadOptions ImportOptions::load_options(const std::string& role) const {
  LoadOptions load;
  if (const auto key = value_or_empty(keys, role); !key.empty()) load.key = key;
  load.strip_prefix = value_or_empty(prefixes, role);
  return load;
}

std::string import_model(Host& host, const ImportOptions& options, const RunObserver& observer) {
  if (!check_free(options)) return fmt::format("'{}' was made from these files before\n", options.to.string());
  const ModelPackage package = package_to_import(options, host.registry(), ConfigNode::make(Json::object(), "import"));
  const std::vector<ComponentSpec> all = package.all();
  std::map<std::string, TensorMap> weights;
  std::map<std::string, std::string> hashes;
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
    hashes[role] = provenance["files"][role]["sha256"];
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
  provenance["request"] = request_of(options, hashes);
  write_model_package(package, options.to, weights, latent_scale.value_or(package.latent_scale()), "import",
                      provenance);
  for (const ComponentSpec& spec : all) {
    if (!weights.contains(spec.role) && takes_weights(*create_component(host, spec)))
      report += fmt::format("{}: no file was given; the model cannot use it yet\n", spec.role);
  }
  return report + fmt::format("written: '{}'\n", (options.to / "model.json").string());
}

}  // namespace medgen
