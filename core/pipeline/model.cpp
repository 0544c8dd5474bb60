// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/model.h"

#include "core/base/file.h"
#include "core/base/text.h"
#include "core/config/json.h"
#include "core/config/parse.h"
#include "core/config/paths.h"
#include "core/pipeline/model_schema.h"
#include "core/pipeline/read_component.h"
#include "core/weights/adapter.h"
#include "core/weights/safetensors.h"
#include "core/weights/weight_store.h"

#include <medgen/abi/component.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

/// The parts of a model that there is one of, and the interface that each must have.
struct Role {
  const char* name;
  const char* kind;
};

constexpr std::array<Role, 4> kRoles = {{{"compressor", MEDGEN_COMPRESSOR_1},
                                         {"denoiser", MEDGEN_DENOISER_1},
                                         {"scheduler", MEDGEN_SCHEDULER_1},
                                         {"propagator", MEDGEN_PROPAGATOR_1}}};

std::vector<std::string> method_ids(const Registry& registry) {
  std::vector<std::string> ids;
  for (const PluginInfo& plugin : registry.plugins()) {
    const Json methods = Json::parse(plugin.methods_json);
    for (const auto& [id, method] : methods.items()) ids.push_back(id);
  }
  return ids;
}

/// Defaults of a method: a description of the same form as model.json.
Json method_defaults(const ConfigNode& id, const Registry& registry) {
  for (const PluginInfo& plugin : registry.plugins()) {
    const Json methods = Json::parse(plugin.methods_json);
    if (const auto found = methods.find(id.as<std::string>()); found != methods.end()) return *found;
  }
  const auto ids = method_ids(registry);
  id.fail("names no known method: {}{}; see `medgen describe`", excerpt(id.json()),
          did_you_mean(id.as<std::string>(), ids));
}

/// `over` laid over `base`: objects member by member, everything else replaced. Another component id replaces the whole
/// component, since its config would mean something else.
Json overlay(Json base, const Json& over) {
  if (!base.is_object() || !over.is_object()) return over;
  const bool other_component = over.contains("component") && base.value("component", "") != over["component"];
  if (other_component) return over;
  for (const auto& [key, value] : over.items()) base[key] = base.contains(key) ? overlay(base[key], value) : value;
  return base;
}

ConfigNode config_of(const ComponentSpec& spec) {
  return spec.config ? *spec.config : ConfigNode::make(Json::object(), spec.component);
}

void merge(TensorMap& tensors, const AdapterSpec& adapter) {
  try {
    merge_adapter(tensors, read_adapter(adapter.file), adapter.strength);
  } catch (const DataError& error) {
    throw DataError("'{}': {}", adapter.file.string(), error.what());
  }
}

/// A component in its role. One that no plugin offers is only missed when it is wanted. @throws ConfigError for another
/// kind
ComponentSpec read_part(const std::string& role, std::string_view kind, const ConfigNode& node,
                        const Registry& registry) {
  const ConfigNode id = node.at("component");
  const ComponentInfo* info = registry.find(id.as<std::string>());
  if (info != nullptr && info->kind != kind)
    id.fail("is \"{}\", a {}; a {} is needed here", info->id, noun_of(info->kind), noun_of(kind));
  return read_component(role, node);
}

/// The adapter of a folder that a training wrote, or the file itself.
std::filesystem::path adapter_file(const ConfigNode& node) {
  const auto path = resolve_path(node);
  const auto file = std::filesystem::is_directory(path) ? path / kAdapterFile : path;
  if (!std::filesystem::is_regular_file(file)) node.fail("names no adapter: there is no file '{}'", file.string());
  return file;
}

/// What `create(config, weights)` gives, with the weight file blamed where it is at fault. A component has copied what
/// it wants by then; one that reads on gets the pages again.
template <typename Create>
auto created(Host& host, const ComponentSpec& spec, const Create& create) {
  info_of(spec, host.registry());
  const ConfigNode config = config_of(spec);
  if (spec.learnt) return create(config, std::make_shared<const WeightStore>(*spec.learnt));
  if (spec.weights.empty()) return create(config, nullptr);
  try {
    const auto file = MappedFile::open(spec.weights);
    TensorMap tensors = SafetensorsFile(file).tensors();
    for (const AdapterSpec& adapter : spec.adapters) merge(tensors, adapter);
    auto component = create(config, std::make_shared<const WeightStore>(std::move(tensors)));
    file->drop_pages();
    return component;
  } catch (const PluginError& error) {
    blame_weights(host, spec.component, config, spec.weights, error);
  }
}

}  // namespace

ComponentSpec read_component(const std::string& role, const ConfigNode& node) {
  ComponentSpec spec;
  spec.role = role;
  spec.component = node.get<std::string>("component");
  if (node.contains("config")) spec.config = node.at("config");
  spec.sha256 = node.get<std::string>("sha256", "");
  spec.where = node.where();
  if (node.contains("weights")) {
    spec.weights = resolve_path(node.at("weights"));
    if (!std::filesystem::is_regular_file(spec.weights))
      node.at("weights").fail("names no file: '{}'", spec.weights.string());
  }
  return spec;
}

const ComponentInfo& info_of(const ComponentSpec& spec, const Registry& registry) {
  if (const ComponentInfo* info = registry.find(spec.component)) return *info;
  try {
    return registry.component(spec.component);
  } catch (const ConfigError& error) {
    throw ConfigError("{}: {}", spec.where, error.what());
  }
}

bool takes_weights(const Component& component) {
  const Json facts = Json::parse(component.describe(), nullptr, false);
  return facts.is_object() && facts.contains("weights") && !facts["weights"].empty();
}

std::int64_t component_fact(const Component& component, const char* key, std::int64_t fallback) {
  constexpr std::int64_t kLargest = 1 << 20;
  const Json facts = Json::parse(component.describe(), nullptr, false);
  if (!facts.is_object() || !facts.contains(key)) return fallback;
  const Json& value = facts[key];
  const std::int64_t number = value.is_number_integer() ? value.get<std::int64_t>() : 0;
  if (number >= 1 && number <= kLargest) return number;
  throw PluginError("{}: describes itself with \"{}\": {}, expected an integer from 1 to {}", component.id(), key,
                    excerpt(value), kLargest);
}

namespace {

std::string why_no_package(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::exists(folder / kAdapterDescription, ignored))
    return fmt::format("'{}' holds an adapter; name the model that it is for, with \"adapters\" beside it",
                       folder.string());
  if (fs::exists(folder / "training", ignored))
    return fmt::format("the training in '{}' is not finished; run its pipeline again", folder.string());
  if (fs::exists(folder, ignored))
    return fmt::format("'{}' has no model.json (make one with `medgen import` or a train step)", folder.string());
  std::vector<std::string> beside;
  for (const auto& entry : fs::directory_iterator(folder.parent_path(), ignored))
    beside.push_back(entry.path().filename().string());
  return fmt::format("there is no folder '{}'{}", folder.string(), did_you_mean(folder.filename().string(), beside));
}

}  // namespace

ModelPackage ModelPackage::load(const std::filesystem::path& folder, const Registry& registry) {
  return load(ConfigNode::make(folder.string(), "model", std::filesystem::current_path()), registry);
}

ModelPackage ModelPackage::load(const ConfigNode& model, const Registry& registry) {
  ModelPackage package;
  ConfigNode description = model;
  if (model.is_string()) {
    package.folder_ = resolve_path(model);
    const auto file = package.folder_ / "model.json";
    if (!std::filesystem::exists(file)) model.fail("names no model package: {}", why_no_package(package.folder_));
    description = read_config(file);
  }
  if (description.is_object() && description.contains("method")) {
    Json defaults = method_defaults(description.at("method"), registry);
    if (description.contains("data") && description.at("data").contains("labels")) {
      // Another vocabulary takes the place of the method's as a whole.
      for (const char* key : {"labels", "expected_labels"}) defaults["data"].erase(key);
    }
    Json merged = overlay(defaults, description.json());
    merged.erase("summary");
    description = description.with_value(std::move(merged));
  }
  package.read(model_schema().resolve(description), registry);
  return package;
}

void ModelPackage::read(const ConfigNode& description, const Registry& registry) {
  json_ = std::make_shared<const Json>(description.json());
  name_ = description.get<std::string>("name", folder_.empty() ? "model in line" : folder_.filename().string());
  license_ = description.get<std::string>("license", "");
  credit_ = description.get<std::string>("credit", "");
  if (description.contains("components")) {
    const ConfigNode components = description.at("components");
    for (const auto& [role, kind] : kRoles) {
      auto& part = parts_.emplace_back(role, std::nullopt).second;
      if (components.contains(role)) part = read_part(role, kind, components.at(role), registry);
    }
    if (components.contains("conditioners")) {
      for (const auto& [role, node] : components.at("conditioners").members())
        conditioners_.push_back(read_part(role, MEDGEN_CONDITIONER_1, node, registry));
    }
  }
  if (description.contains("mask_generator")) mask_generator_ = description.at("mask_generator");
  if (description.contains("latent")) latent_scale_ = description.at("latent").get<double>("scale", 1.0);
  if (description.contains("defaults")) {
    default_steps_ = description.at("defaults").get<int>("steps", default_steps_);
    default_guidance_ = description.at("defaults").get<double>("guidance", default_guidance_);
  }
  contract_ = DataContract::read(description);
}

ModelPackage ModelPackage::with_scheduler(const ConfigNode& scheduler, const Registry& registry) const {
  ModelPackage changed = *this;
  for (auto& [role, spec] : changed.parts_) {
    if (role == "scheduler") spec = read_scheduler(scheduler, registry);
  }
  Json description = *json_;
  description["components"]["scheduler"] = scheduler.json();
  changed.json_ = std::make_shared<const Json>(std::move(description));
  return changed;
}

ModelPackage ModelPackage::with_adapters(const ConfigNode& adapters) const {
  ModelPackage changed = *this;
  for (const ConfigNode& each : adapters.items()) {
    const ConfigNode node = each.is_object() ? each.at("adapter") : each;
    const AdapterSpec adapter{adapter_file(node), each.is_object() ? each.get<double>("strength", 1.0) : 1.0};
    const AdapterFacts facts = read_adapter(adapter.file).facts;
    ComponentSpec* spec = nullptr;
    for (auto& [role, part] : changed.parts_) {
      if (role == facts.role && part && !part->weights.empty()) spec = &*part;
    }
    if (spec == nullptr) node.fail("is for the {}, but model '{}' has none with weights", facts.role, name());
    const std::string base = sha256_of_weights(*spec);
    if (base != facts.base_sha256)
      node.fail("was trained on a {} with sha256 {}, but that of model '{}' is {}", facts.role, facts.base_sha256,
                name(), base);
    spec->adapters.push_back(adapter);
  }
  return changed;
}

ModelPackage ModelPackage::without_weights() const {
  ModelPackage changed = *this;
  for (auto& [role, spec] : changed.parts_) {
    if (!spec) continue;
    spec->weights.clear();
    spec->adapters.clear();
  }
  for (ComponentSpec& spec : changed.conditioners_) spec.weights.clear();
  return changed;
}

ModelPackage ModelPackage::with_learnt(const std::map<std::string, TensorMap>& weights, double latent_scale) const {
  ModelPackage changed = *this;
  changed.latent_scale_ = latent_scale;
  const auto give = [&](ComponentSpec& spec) {
    if (const auto found = weights.find(spec.role); found != weights.end())
      spec.learnt = std::make_shared<const TensorMap>(found->second);
  };
  for (auto& [role, spec] : changed.parts_) {
    if (spec) give(*spec);
  }
  for (ComponentSpec& spec : changed.conditioners_) give(spec);
  return changed;
}

ModelPackage ModelPackage::with_label_volumes(const Json& volumes) const {
  ModelPackage changed = *this;
  Json description = *json_;
  description["data"][kLabelVolumes] = volumes;
  changed.contract_ = DataContract::read(ConfigNode::make(description, "model", folder_));
  changed.json_ = std::make_shared<const Json>(std::move(description));
  return changed;
}

namespace {

Json without_weights_in(Json description) {
  if (!description.is_object()) return description;
  description.erase("weights");
  for (auto& [key, value] : description.items()) value = without_weights_in(value);
  return description;
}

}  // namespace

Json ModelPackage::json_without_weights() const {
  return without_weights_in(*json_);
}

Json ModelPackage::weight_hashes() const {
  Json hashes = Json::object();
  for (const ComponentSpec& spec : all()) {
    if (!spec.weights.empty()) hashes[spec.role] = sha256_of_weights(spec);
    for (const AdapterSpec& adapter : spec.adapters)
      hashes[spec.role + ".adapters"].push_back(
          {{"sha256", sha256_file(adapter.file)}, {"strength", adapter.strength}});
  }
  return hashes;
}

ModelPackage ModelPackage::compressor_alone() const {
  ModelPackage changed = *this;
  for (auto& [role, spec] : changed.parts_) {
    if (role != "compressor") spec.reset();
  }
  changed.conditioners_.clear();
  return changed;
}

const std::optional<ComponentSpec>& ModelPackage::part(std::string_view role) const {
  static const std::optional<ComponentSpec> kNone;
  const auto found = std::find_if(parts_.begin(), parts_.end(), [&](const auto& part) { return part.first == role; });
  return found == parts_.end() ? kNone : found->second;
}

std::vector<ComponentSpec> ModelPackage::all() const {
  std::vector<ComponentSpec> specs;
  for (const auto& [role, spec] : parts_) {
    if (spec) specs.push_back(*spec);
  }
  specs.insert(specs.end(), conditioners_.begin(), conditioners_.end());
  return specs;
}

void ModelPackage::verify_weights() const {
  for (const ComponentSpec& spec : all()) {
    if (!spec.weights.empty()) SafetensorsFile(MappedFile::open(spec.weights));
    if (spec.weights.empty() || spec.sha256.empty()) continue;
    const std::string found = sha256_file(spec.weights);
    if (found == spec.sha256) continue;
    throw DataError("{}: sha256 is {}, but {} ({}) records {}; the file was changed or damaged: get it again",
                    spec.weights.string(), found, name_, spec.where, spec.sha256);
  }
}

void blame_weights(Host& host, const std::string& component, const ConfigNode& config,
                   const std::filesystem::path& file, const PluginError& error) {
  host.create(component, config);  // throws when the weights are not what is wrong
  throw DataError("'{}' does not fit: {}", file.string(), error.what());
}

std::shared_ptr<Component> create_component(Host& host, const ComponentSpec& spec) {
  return created(host, spec, [&](const ConfigNode& config, std::shared_ptr<const WeightStore> weights) {
    return host.create(spec.component, config, std::move(weights));
  });
}

ComponentSpec read_scheduler(const ConfigNode& node, const Registry& registry) {
  return read_part("scheduler", MEDGEN_SCHEDULER_1, node, registry);
}

void check_configs(Host& host, const ModelPackage& package) {
  for (const ComponentSpec& spec : package.without_weights().all()) create_component(host, spec);
}

std::int64_t volume_multiple(const Component* compressor, const Component* denoiser) {
  const std::int64_t compression = compressor != nullptr ? component_fact(*compressor, "compression", 1) : 1;
  return denoiser != nullptr ? compression * component_fact(*denoiser, "multiple_of", 1) : compression;
}

std::string sha256_of_weights(const ComponentSpec& spec) {
  return spec.sha256.empty() ? sha256_file(spec.weights) : spec.sha256;
}

bool needs_weights(Host& host, const ComponentSpec& spec) {
  const std::string& kind = info_of(spec, host.registry()).kind;
  if (kind == MEDGEN_SCHEDULER_1 || kind == MEDGEN_PROPAGATOR_1) return false;
  return takes_weights(*create_component(host, spec));
}

void require_weights(Host& host, const ModelPackage& package, std::string_view role) {
  for (const ComponentSpec& spec : package.all()) {
    if (!spec.weights.empty() || (!role.empty() && spec.role != role) || !needs_weights(host, spec)) continue;
    throw DataError("{}: {} ({}) of {} has no weights; give it \"weights\", or import or train the model", spec.where,
                    spec.role, spec.component, package.name());
  }
}

Model Model::open(const ModelPackage& package, Host& host) {
  Model model;
  model.contract = package.contract();
  model.latent_scale = package.latent_scale();
  if (const auto& spec = package.part("compressor")) {
    model.compressor = created(host, *spec, [&](const ConfigNode& config, std::shared_ptr<const WeightStore> weights) {
      return host.create_compressor(spec->component, config, std::move(weights));
    });
    model.compression = component_fact(*model.compressor, "compression", 1);
    model.latent_channels = component_fact(*model.compressor, "latent_channels", 1);
    model.image_channels = model.contract.makes_labels() ? 1 : component_fact(*model.compressor, "in_channels", 0);
  }
  if (const auto& spec = package.part("denoiser")) {
    model.parts.denoiser =
        created(host, *spec, [&](const ConfigNode& config, std::shared_ptr<const WeightStore> weights) {
          return host.create_denoiser(spec->component, config, std::move(weights));
        });
    if (!model.compressor) model.latent_channels = component_fact(*model.parts.denoiser, "out_channels", 1);
  }
  model.multiple_of = volume_multiple(model.compressor.get(), model.parts.denoiser.get());
  if (const auto& spec = package.part("scheduler")) {
    model.parts.scheduler = host.create_scheduler(spec->component, config_of(*spec));
  }
  if (const auto& spec = package.part("propagator")) {
    model.parts.propagator =
        created(host, *spec, [&](const ConfigNode& config, std::shared_ptr<const WeightStore> weights) {
          return host.create_propagator(spec->component, config, std::move(weights));
        });
  } else if (model.parts.denoiser) {
    model.parts.propagator = host.create_propagator("propagator.whole", "{}");
  }
  for (const ComponentSpec& spec : package.conditioners()) {
    model.parts.conditioners.push_back(
        created(host, spec, [&](const ConfigNode& config, std::shared_ptr<const WeightStore> weights) {
          return host.create_conditioner(spec.component, config, std::move(weights));
        }));
  }
  return model;
}

void Model::require_sampler(const ModelPackage& package) const {
  if (parts.denoiser && parts.scheduler) return;
  throw ConfigError("model '{}' cannot generate: it has no {}", package.name(),
                    parts.denoiser ? "scheduler" : "denoiser");
}

void Model::require_compressor(const ModelPackage& package) const {
  if (compressor) return;
  throw ConfigError("model '{}' cannot encode or decode: it has no compressor", package.name());
}

}  // namespace medgen
