// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/compressor.h"
#include "core/config/node.h"
#include "core/pipeline/contract.h"
#include "core/plugin/host.h"
#include "core/sample/sampler.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// Name of the adapter in the folder that a training writes.
inline constexpr const char* kAdapterFile = "adapter.safetensors";
/// What is said of it, beside it.
inline constexpr const char* kAdapterDescription = "adapter.json";

/// A low-rank adapter that is merged into the weights of a component.
struct AdapterSpec {
  std::filesystem::path file;
  double strength = 1;
};

/// One component of a model: which, how configured, with which weights.
struct ComponentSpec {
  std::string role;       ///< "compressor", "denoiser", "scheduler", "propagator", or the name of a conditioner
  std::string component;  ///< "maisi.unet"
  std::optional<ConfigNode> config;
  std::filesystem::path weights;  ///< empty: none
  std::string sha256;             ///< of the weights; empty: not recorded
  std::string where;              ///< file:line:column of its description, for messages
  std::vector<AdapterSpec> adapters = {};
  std::shared_ptr<const TensorMap> learnt = nullptr;  ///< weights that no file holds yet, in place of `weights`
};

/// What the manifest says of a component. @throws ConfigError with its place when no plugin offers it
const ComponentInfo& info_of(const ComponentSpec& spec, const Registry& registry);

/// An integer of at least 1 that a component tells of itself. @throws PluginError for one that it cannot be.
std::int64_t component_fact(const Component& component, const char* key, std::int64_t fallback);

/// Whether a component lists weights in its description.
bool takes_weights(const Component& component);

/// What the axes of a volume have to be multiples of for these parts of a model; null for one that it lacks.
std::int64_t volume_multiple(const Component* compressor, const Component* denoiser);

/// What a model consists of, before anything is loaded: a package's model.json, or the same object in line in a
/// pipeline, laid over the defaults of its method (docs/model.md).
class ModelPackage {
 public:
  /// @param model  a path to a folder with model.json (relative to the document), or an object.
  /// @throws ConfigError for a description that does not fit, or a component of another kind than
  /// its role; DataError for a folder that cannot be read.
  static ModelPackage load(const ConfigNode& model, const Registry& registry);
  static ModelPackage load(const std::filesystem::path& folder, const Registry& registry);

  /// The same with another scheduler: any scheduler drives any denoiser.
  /// @throws ConfigError at one that is no scheduler
  ModelPackage with_scheduler(const ConfigNode& scheduler, const Registry& registry) const;

  /// The same with low-rank adapters merged into its weights.
  /// @param adapters  files, or folders that a training wrote, alone or as {"adapter", "strength"}.
  /// @throws ConfigError for one that is for another part or other weights
  ModelPackage with_adapters(const ConfigNode& adapters) const;

  /// The same with its weights left out, for asking what it takes.
  ModelPackage without_weights() const;
  /// The same with weights by role that a training has come to, and its scale.
  ModelPackage with_learnt(const std::map<std::string, TensorMap>& weights, double latent_scale) const;
  /// The same with another "label_volumes_ml" in its data contract.
  ModelPackage with_label_volumes(const Json& volumes) const;
  /// The same with nothing but its compressor, for steps that need no more.
  ModelPackage compressor_alone() const;

  const std::string& name() const { return name_; }

  const std::filesystem::path& folder() const { return folder_; }  ///< empty for a model in line

  const std::optional<ComponentSpec>& part(std::string_view role) const;

  const std::vector<ComponentSpec>& conditioners() const { return conditioners_; }

  /// All components in the order compressor, denoiser, scheduler, propagator, conditioners.
  std::vector<ComponentSpec> all() const;

  const DataContract& contract() const { return contract_; }

  /// Names the folder of the package that makes label maps for this one; nothing when there is none.
  const std::optional<ConfigNode>& mask_generator() const { return mask_generator_; }

  double latent_scale() const { return latent_scale_; }

  int default_steps() const { return default_steps_; }

  double default_guidance() const { return default_guidance_; }

  const std::string& license() const { return license_; }

  const std::string& credit() const { return credit_; }

  /// The whole description with the method's defaults filled in.
  const Json& json() const { return *json_; }

  /// The same without where its weights lie, which says nothing of what they are.
  Json json_without_weights() const;
  /// SHA-256 of the weights by role, and of the adapters that are merged into them.
  Json weight_hashes() const;

  /// Looks at the header of every weight file, and compares its hash with the recorded one. @throws DataError
  void verify_weights() const;

 private:
  void read(const ConfigNode& description, const Registry& registry);

  std::string name_, license_, credit_;
  std::filesystem::path folder_;
  std::optional<ConfigNode> mask_generator_;
  std::vector<std::pair<std::string, std::optional<ComponentSpec>>> parts_;
  std::vector<ComponentSpec> conditioners_;
  DataContract contract_;
  double latent_scale_ = 1.0;
  int default_steps_ = 30;
  double default_guidance_ = 1.0;
  std::shared_ptr<const Json> json_;
};

/// Creates one component with its weights. @throws DataError naming the file when they do not fit it.
std::shared_ptr<Component> create_component(Host& host, const ComponentSpec& spec);

/// The scheduler that a step names in place of its model's. @throws ConfigError at one that is none
ComponentSpec read_scheduler(const ConfigNode& node, const Registry& registry);

/// Creates every component without its weights, and forgets them. @throws ConfigError at a config that its component
/// refuses
void check_configs(Host& host, const ModelPackage& package);

/// After a component with weights could not be created: @throws DataError naming the file when it can be created
/// without them, else the error of that.
[[noreturn]] void blame_weights(Host& host, const std::string& component, const ConfigNode& config,
                                const std::filesystem::path& file, const PluginError& error);

/// SHA-256 of its file of weights: what is recorded, else of what it holds.
std::string sha256_of_weights(const ComponentSpec& spec);

/// Whether a component computes with weights.
bool needs_weights(Host& host, const ComponentSpec& spec);

/// @throws DataError when a component that wants weights was given none; `role` "" looks at all of them.
void require_weights(Host& host, const ModelPackage& package, std::string_view role);

/// A model whose components have been created and hold their weights.
struct Model {
  SamplerParts parts;
  std::shared_ptr<Compressor> compressor;  ///< null: the denoiser works on the volume itself
  DataContract contract;
  double latent_scale = 1.0;
  std::int64_t image_channels = 0;   ///< of an image that is encoded; 0: the compressor does not tell
  std::int64_t latent_channels = 1;  ///< of the sampled array
  std::int64_t compression = 1;      ///< voxels per latent element, per axis
  std::int64_t multiple_of = 1;      ///< every axis of the volume must be a multiple of this

  /// @throws ConfigError when a part that the task needs is missing.
  static Model open(const ModelPackage& package, Host& host);
  void require_sampler(const ModelPackage& package) const;
  void require_compressor(const ModelPackage& package) const;
};

}  // namespace medgen
