// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/import_adapter.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/parse.h"
#include "core/pipeline/imported_file.h"
#include "core/pipeline/package_writer.h"
#include "core/weights/key_report.h"
#include "core/weights/safetensors.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr std::string_view kPeftPrefix = "base_model.model.";
constexpr std::string_view kWeight = ".weight";
constexpr const char* kPeftConfig = "adapter_config.json";

bool is_half(std::string_view name) {
  return name.ends_with(kLoraA) || name.ends_with(kLoraB);
}

/// What B A is multiplied by, and who says so.
struct Scaling {
  double alpha = 1;
  std::optional<std::int64_t> rank;
  std::string source;
};

/// peft's variants that are another formula, or have more than one rank or alpha.
void refuse_variants(const ConfigNode& config) {
  if (const auto type = config.get<std::string>("peft_type"); type != "LORA")
    config.at("peft_type").fail("is '{}'; only LORA adapters can be imported", type);
  for (const auto& [key, value] : config.members()) {
    const bool variant = (key.starts_with("use_") && key != "use_rslora") || key == "fan_in_fan_out";
    if (variant && value.json() == true) value.fail("is true; such adapters are not W + alpha / rank B A");
  }
  for (const char* variant : {"alora_invocation_tokens", "kasa_config", "layer_replication"}) {
    if (config.contains(variant) && !config.at(variant).json().is_null())
      config.at(variant).fail("is given; such adapters are not W + alpha / rank B A");
  }
  for (const char* pattern : {"rank_pattern", "alpha_pattern"}) {
    if (config.contains(pattern) && !config.at(pattern).json().empty())
      config.at(pattern).fail("gives layers numbers of their own; an adapter has one rank and one alpha");
  }
}

Scaling peft_scaling(const std::filesystem::path& file) {
  const ConfigNode config = read_config(file);
  refuse_variants(config);
  const auto rank = config.get<std::int64_t>("r");
  const auto alpha = config.get<double>("lora_alpha");
  if (rank < 1) config.at("r").fail("must be at least 1, got {}", rank);
  if (!(alpha > 0)) config.at("lora_alpha").fail("must be above 0, got {}", alpha);
  // Rank-stabilised adapters count alpha / sqrt(rank): a larger alpha, said in our way.
  const bool stabilised = config.get<bool>("use_rslora", false);
  return {stabilised ? alpha * std::sqrt(static_cast<double>(rank)) : alpha, rank, kPeftConfig};
}

/// What a file of ours says of itself; it is for this part of these weights, or refused.
std::optional<Scaling> own_scaling(const AdapterImportOptions& options, const State& state,
                                   const std::string& base_sha256) {
  if (!state.scalars.contains("medgen.adapter.role")) return std::nullopt;
  const AdapterFacts facts = read_adapter(options.file).facts;
  if (facts.role != options.role)
    throw DataError("'{}' is an adapter for the {}, not for the {}", options.file.string(), facts.role, options.role);
  if (facts.base_sha256 != base_sha256)
    throw DataError("'{}' was trained on a {} with sha256 {}, but that of '{}' is {}", options.file.string(),
                    facts.role, facts.base_sha256, options.base.string(), base_sha256);
  return Scaling{facts.alpha, facts.rank, "the file"};
}

Scaling scaling_of(const AdapterImportOptions& options, const State& state, const std::string& base_sha256) {
  const std::filesystem::path config = options.file.parent_path() / kPeftConfig;
  std::optional<Scaling> recorded = own_scaling(options, state, base_sha256);
  if (!recorded && std::filesystem::exists(config)) recorded = peft_scaling(config);
  if (!recorded && !options.alpha)
    throw ConfigError("'{}' does not tell its alpha, and there is no {} beside it; give it with --alpha",
                      options.file.string(), kPeftConfig);
  if (!recorded) return {*options.alpha, std::nullopt, "--alpha"};
  if (options.alpha && *options.alpha != recorded->alpha)
    throw ConfigError("--alpha is {}, but {} says {}; leave --alpha out", *options.alpha, recorded->source,
                      recorded->alpha);
  return *recorded;
}

/// A kernel's half as the matrix that it is: A like the kernel, (rank, in, ...), B of 1x1x1; others as they are.
Tensor as_matrix(const std::string& name, const Tensor& half, const TensorMap& weights) {
  const Shape& shape = half.shape();
  if (shape.size() < 3) return half;
  const auto weight = weights.find(name.substr(0, name.size() - kLoraA.size()) + std::string(kWeight));
  const bool like_kernel =
      name.ends_with(kLoraB) ||
      (weight != weights.end() && weight->second.shape().size() > 1 &&
       std::equal(shape.begin() + 1, shape.end(), weight->second.shape().begin() + 1, weight->second.shape().end()));
  return like_kernel && shape[0] > 0 ? half.reshape({shape[0], half.size() / shape[0]}) : half;
}

/// Under our names, "<layer>.lora_A" (rank, in) and "<layer>.lora_B" (out, rank); what is neither keeps its name.
TensorMap our_tensors(const TensorMap& given, const TensorMap& weights) {
  TensorMap ours;
  for (const auto& [full, tensor] : given) {
    std::string name = full.starts_with(kPeftPrefix) ? full.substr(kPeftPrefix.size()) : full;
    if (name.ends_with(kWeight) && is_half(name.substr(0, name.size() - kWeight.size())))
      name.resize(name.size() - kWeight.size());
    if (!ours.emplace(name, is_half(name) ? as_matrix(name, tensor, weights) : tensor).second)
      throw DataError("two tensors are the adapter's '{}'", name);
  }
  return ours;
}

/// What the halves must be like, for every layer that the model has and the adapter changes.
std::vector<WeightSpec> expected_tensors(const TensorMap& halves, const TensorMap& weights, std::int64_t rank) {
  std::map<std::string, Shape> expected;
  for (const auto& [name, tensor] : halves) {
    if (!is_half(name)) continue;
    const std::string layer = name.substr(0, name.size() - kLoraA.size());
    const auto weight = weights.find(layer + std::string(kWeight));
    if (weight == weights.end() || weight->second.shape().size() < 2) continue;
    const std::int64_t rows = std::max<std::int64_t>(weight->second.shape()[0], 1);
    expected[layer + std::string(kLoraA)] = {rank, weight->second.size() / rows};
    expected[layer + std::string(kLoraB)] = {rows, rank};
  }
  std::vector<WeightSpec> specs;
  for (const auto& [name, shape] : expected) specs.push_back({name, shape, DType::F32});
  return specs;
}

/// The rank of the first half; the others are measured by it.
std::int64_t rank_of(const TensorMap& halves, const std::filesystem::path& file) {
  for (const auto& [name, tensor] : halves) {
    if (name.ends_with(kLoraA) && !tensor.shape().empty() && tensor.shape()[0] > 0) return tensor.shape()[0];
  }
  throw DataError("'{}' is no adapter: none of its {} tensors is a lora_A", file.string(), halves.size());
}

TensorMap fitting_tensors(const AdapterImportOptions& options, const State& state, const TensorMap& weights,
                          std::optional<std::int64_t> rank) {
  TensorMap halves = our_tensors(state.tensors, weights);
  const std::vector<WeightSpec> expected =
      expected_tensors(halves, weights, rank ? *rank : rank_of(halves, options.file));
  require_match(match_keys(expected, halves), fmt::format("'{}' as adapter for the {} of '{}'", options.file.string(),
                                                          options.role, options.base.string()));
  if (halves.empty()) throw DataError("'{}' is no adapter: it has no tensors", options.file.string());
  for (auto& [name, tensor] : halves) {
    require_finite(options.file, name, tensor, "adapter");
    tensor = tensor.to(DType::F32);
  }
  return halves;
}

const ComponentSpec& base_part(const ModelPackage& base, const AdapterImportOptions& options) {
  const auto& part = base.part(options.role);
  if (part && !part->weights.empty()) return *part;
  std::vector<std::string> roles;
  for (const ComponentSpec& spec : base.all()) {
    if (base.part(spec.role) && !spec.weights.empty()) roles.push_back(spec.role);
  }
  throw ConfigError("'{}' has no '{}' with weights that an adapter could change; it has: {}", options.base.string(),
                    options.role, fmt::join(roles, ", "));
}

Json provenance_of(const AdapterImportOptions& options, const State& state, const Scaling& scaling) {
  Json record = {{"medgen_version", MEDGEN_VERSION},
                 {"files", {{options.role, imported_file(options.file, state)}}},
                 {"alpha_from", scaling.source}};
  for (const auto& [key, text] :
       {std::pair{"name", options.name}, {"license", options.license}, {"credit", options.credit}})
    if (!text.empty()) record[key] = text;
  return {{"import", record}};
}

}  // namespace

std::string import_adapter(const Registry& registry, const AdapterImportOptions& options) {
  for (const char* taken : {"model.json", kAdapterFile}) {
    if (std::filesystem::exists(options.to / taken))
      throw DataError("'{}' already holds '{}'; choose another folder or delete it", options.to.string(), taken);
  }
  const ModelPackage base = ModelPackage::load(options.base, registry);
  const ComponentSpec& part = base_part(base, options);
  const std::string base_sha256 = sha256_of_weights(part);
  const State state = load_state(options.file, options.load);
  const Scaling scaling = scaling_of(options, state, base_sha256);
  Adapter adapter;
  adapter.tensors = fitting_tensors(options, state, SafetensorsFile(part.weights).tensors(), scaling.rank);
  adapter.facts = {options.role, base_sha256, scaling.alpha, rank_of(adapter.tensors, options.file)};
  write_adapter_package(base, options.to, adapter, provenance_of(options, state, scaling));
  return fmt::format("{}: adapter of rank {} for {} layers, from '{}' ({}); alpha {}, as {} says\nwritten: '{}'\n",
                     options.role, adapter.facts.rank, adapter.tensors.size() / 2, options.file.filename().string(),
                     state.format, scaling.alpha, scaling.source, (options.to / kAdapterFile).string());
}

}  // namespace medgen
