// SPDX-License-Identifier: Apache-2.0
// What steps would do, checked and told without computing.
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/import_step.h"
#include "core/pipeline/reference.h"
#include "core/pipeline/schema.h"
#include "core/pipeline/steps.h"
#include "core/pipeline/train_options.h"
#include "core/pipeline/write.h"

#include <nlohmann/json.hpp>

namespace medgen {

namespace {

/// ", from iteration 500 of 2000 on": what a checkpoint in the folder means. @throws DataError for that of another one
std::string going_on(const TrainStep& train, const Host& host) {
  const auto done = interrupted_at(train, host);
  const auto all = train.node.get<std::uint64_t>("iterations");
  if (!done) return "";
  return *done < all ? fmt::format(", from iteration {} of {} on", *done, all) : ", where it has ended already";
}

}  // namespace

bool StepGraph::is_known(const std::string& name) const {
  const ConfigNode node = step(name);
  if (model_is_made_here(node.at(std::string(verb_of(node))))) return false;
  if (node.contains("adapters")) {
    for (const ConfigNode& each : node.at("adapters").items()) {
      const ConfigNode adapter = each.is_object() ? each.at("adapter") : each;
      if (is_reference(adapter) &&
          !std::filesystem::exists(resolve_path(step(referenced(adapter)).at("to")) / kAdapterFile))
        return false;
    }
  }
  for (const char* input : {"mask", "image", "latent"}) {
    if (node.contains(input) && is_reference(node.at(input)) && !is_known(referenced(node.at(input)))) return false;
  }
  return true;
}

std::uint64_t StepGraph::kept_bytes() {
  std::uint64_t bytes = 0;
  for (const auto& [name, node] : document_.at("steps").members()) {
    if (!kSampleVerbs.contains(verb_of(node)) || readers_of(name) < 2 || !is_known(name)) continue;
    const auto samples = source(name);
    for (std::size_t i = 0; i < samples->count(); ++i) bytes += samples->bytes(i).total();
  }
  return bytes;
}

/// What a step computes with is there, undamaged.
void StepGraph::check_model(const ModelPackage& model, std::string_view role) {
  model.verify_weights();
  // Here first, so that plugins talk to this host when others ask them.
  for (const ComponentSpec& spec : model.all())
    host_.load(host_.registry().plugin_of(info_of(spec, host_.registry()).id).id);
  require_weights(host_, model, role);
}

void StepGraph::plan_samples(const ConfigNode& node, StepPlan& plan) {
  if (!is_known(plan.step)) {
    const bool made = model_is_made_here(node.at(plan.verb));
    plan.text = made ? fmt::format("{} with the model that {} will make", plan.verb, excerpt(node.at(plan.verb).json()))
                     : fmt::format("{} with what earlier steps will make", plan.verb);
    return;
  }
  const ModelPackage model = plan.verb == "generate" ? generator_package(node) : package(node.at(plan.verb));
  check_model(model, plan.verb == "generate" ? "" : "compressor");
  if (const auto maker = mask_maker(node, model, host_.registry())) check_model(*maker, "");
  const auto samples = source(plan.step);
  const std::size_t count = samples->count();
  plan.warnings = samples->check_inputs(job_.part.begin(count), job_.part.end(count));  // others look at theirs
  if (readers_of(plan.step) == 0)
    plan.warnings.push_back(fmt::format(
        "steps.{0}: no step takes its samples, so they are not made; add {{\"write\": \"@{0}\", \"to\": \"FOLDER\"}}",
        plan.step));
  plan.samples = count;
  plan.text =
      fmt::format("{} {} sample{} with {}", plan.verb, plan.samples, plan.samples == 1 ? "" : "s", model.name());
}

Demand StepGraph::training_demand(const std::string& name, Host& planner, const TrainWhatIf& what_if) {
  const TrainStep train = train_step(name);
  auto found = case_sizes_.find(name);
  if (found == case_sizes_.end()) {
    const DataContract contract = ModelPackage::load(train.model, host_.registry()).contract();
    const CaseSizes sizes = CaseSizes::of(cases_to_read(train), contract, train.preparation.spacing(),
                                          train.preparation.json().contains("channel") || contract.makes_labels());
    found = case_sizes_.emplace(name, sizes).first;
  }
  return demand_to_train(train, planner, found->second, what_if);
}

/// What is in the folder of a write step may stay, or go. @throws DataError as the step would
void StepGraph::check_replacing(const std::string& name) {
  if (!std::filesystem::is_directory(resolve_path(step(name).at("to")))) return;
  const WriteOptions options = write_options(name);
  const bool continued = !options.overwrite && RunFolder::check(options.to, options.fingerprint, options.manifest);
  refuse_to_replace(*source(referenced(step(name).at("write"))), options, continued);
}

/// Before it is trained: the package takes it along. @throws ConfigError
void StepGraph::check_mask_generator(const TrainStep& train) {
  const ModelPackage package = ModelPackage::load(train.model, host_.registry());
  if (!package.mask_generator()) return;
  const auto folder = std::filesystem::weakly_canonical(resolve_path(*package.mask_generator()));
  for (const auto& [name, step] : document_.at("steps").members()) {
    if (step.contains("to") && std::filesystem::weakly_canonical(resolve_path(step.at("to"))) == folder) return;
  }
  mask_maker(package, host_.registry());
}

StepPlan StepGraph::plan(const std::string& name) {
  const ConfigNode node = step(name);
  StepPlan plan;
  plan.step = name;
  plan.verb = verb_of(node);
  if (node.contains("to")) check_folder(resolve_path(node.at("to")));
  const std::string folder = node.contains("to") ? resolve_path(node.at("to")).lexically_normal().string() : "";
  if (kSampleVerbs.contains(plan.verb)) {
    plan_samples(node, plan);
  } else if (plan.verb == "train") {
    const TrainStep train = train_step(name);
    check_training_data(train);
    check_train_step(train, host_);
    check_mask_generator(train);
    for (const std::string& warning : train_warnings(node))
      plan.warnings.push_back(fmt::format("steps.{}: {}", name, warning));
    plan.folder = folder;
    plan.text = fmt::format("train into '{}'{}", folder, going_on(train, host_));
  } else if (plan.verb == "import") {
    check_import(node, host_);
    check_import_files(node);
    plan.text = fmt::format("import into '{}'", folder);
  } else {
    const std::string written = referenced(node.at("write"));
    plan.text = fmt::format("write {} to '{}'", excerpt(node.at("write").json()), folder);
    if (is_known(written)) {
      check_replacing(name);
      plan.samples = source(written)->count();
      plan_writing(*source(written), resolve_path(node.at("to")), layout_of(node.get<std::string>("layout")), plan);
    }
  }
  return plan;
}

}  // namespace medgen
