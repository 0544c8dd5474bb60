// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/group.h"
#include "core/pipeline/generate.h"
#include "core/pipeline/model.h"
#include "core/pipeline/plan.h"
#include "core/pipeline/sample.h"
#include "core/pipeline/train_demand.h"
#include "core/pipeline/train_step.h"
#include "core/pipeline/write.h"

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace medgen {

/// What can be told from the steps alone: whether every "@step" names an earlier step of the right sort, no two steps
/// write to one folder, times descend. @throws ConfigError at what is wrong
void check_references(const ConfigNode& steps);

/// The model of a train step as far as the pipeline tells before anything runs: through "@step" to where the model is
/// described, its folder, or the method of an import.
ConfigNode described_model(const ConfigNode& steps, const ConfigNode& model);

/// The steps of one pipeline, turned into work. Steps that make samples are lazy: a write step pulls them.
class StepGraph {
 public:
  StepGraph(ConfigNode document, Host& host, const Job& job = {});

  /// What a step would do; checks everything that can be checked without computing. @throws the first problem.
  StepPlan plan(const std::string& name);
  /// Whether its samples are known before anything runs: not when a model that an earlier step will make is needed.
  bool is_known(const std::string& name) const;
  /// The samples of a step, made once.
  std::shared_ptr<SampleSource> source(const std::string& name);
  /// What a train step takes. @throws PluginError for a component that cannot be asked
  Demand training_demand(const std::string& name, Host& planner, const TrainWhatIf& what_if);
  /// Of samples that stay in memory because several steps read them.
  std::uint64_t kept_bytes();
  /// Runs a step that does something by itself (train, write, import): the folder it wrote. Others wait to be pulled.
  std::optional<std::filesystem::path> run(const std::string& name, const RunObserver& observer);

 private:
  ConfigNode step(const std::string& name) const { return document_.at("steps").at(name); }

  std::uint64_t seed() const;
  void check_model(const ModelPackage& model, std::string_view role);
  void check_replacing(const std::string& name);
  void plan_samples(const ConfigNode& node, StepPlan& plan);
  void check_mask_generator(const TrainStep& train);
  std::shared_ptr<SampleSource> make_source(const std::string& name);
  /// Files, or the samples of another step.
  std::shared_ptr<SampleSource> inputs(const ConfigNode& node, FileSource::Kind kind);
  ConfigNode model_reference(const ConfigNode& node) const;
  bool model_is_made_here(const ConfigNode& node) const;
  ModelPackage package(const ConfigNode& node);
  ModelPackage generator_package(const ConfigNode& node);
  /// The adapters of a generate step, with the folders of "@step" in their place.
  ConfigNode adapters_of(const ConfigNode& node) const;
  std::shared_ptr<SampleSource> generate(const std::string& name);
  std::shared_ptr<SampleSource> images_for(const ConfigNode& node, const SampleSource* masks);
  std::shared_ptr<SampleSource> generated_masks(const ConfigNode& node, const ModelPackage& maker,
                                                const GenerateOptions& of_images) const;
  /// Hashes what decides the samples.
  WriteOptions write_options(const std::string& name);
  std::filesystem::path write(const std::string& name, const RunObserver& observer);
  std::filesystem::path import_package(const std::string& name, const RunObserver& observer);
  TrainStep train_step(const std::string& name) const;
  void collect_facts(const std::string& name, Json& facts, std::set<std::filesystem::path>& inputs);
  Json manifest(const std::filesystem::path& folder, const Json& facts) const;
  std::size_t readers_of(const std::string& name) const;

  ConfigNode document_;
  Host& host_;
  Job job_;
  std::map<std::string, std::shared_ptr<SampleSource>> sources_;
  std::map<std::string, CaseSizes> case_sizes_;  ///< by train step
};

}  // namespace medgen
