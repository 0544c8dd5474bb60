// SPDX-License-Identifier: Apache-2.0
// What of a train step can be checked without computing.
#include "core/base/text.h"
#include "core/component/conditioner.h"
#include "core/config/paths.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/case_modalities.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/data_split.h"
#include "core/pipeline/label_names.h"
#include "core/pipeline/model.h"
#include "core/pipeline/read_component.h"
#include "core/pipeline/train_options.h"
#include "core/pipeline/train_step.h"
#include "core/train/trainer.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

FoundCases found_cases(const TrainStep& step) {
  return training_cases(step.data, step.preparation.skips_bad());
}

/// Those that a training would read.
std::vector<Case> cases_of(const TrainStep& step, const FoundCases& found) {
  const std::vector<Case>& cases = found.dataset.cases;
  const auto is_left_out = [&](const Case& one) {
    return std::any_of(found.problems.begin(), found.problems.end(),
                       [&](const auto& bad) { return bad.name == one.name; });
  };
  const Split parts = split_cases(cases, SplitOptions::read(step.split, step.seed));
  std::vector<Case> read;
  for (const auto* part : {&parts.train, &parts.validation}) {
    for (const std::size_t index : *part) {
      if (!is_left_out(cases[index])) read.push_back(cases[index]);
    }
  }
  return read;
}

/// The package of another training, or one that was brought here, is not replaced.
void check_target(const TrainStep& step, const ModelPackage& package) {
  const std::filesystem::path to = resolve_path(step.node.at("to"));
  std::error_code error;
  if (!package.folder().empty() && std::filesystem::equivalent(package.folder(), to, error)) {
    step.node.at("to").fail(
        "is the folder of the model that the training starts from, which would be lost; choose "
        "another one");
  }
  if (std::filesystem::exists(to / "model.json") && !std::filesystem::exists(training_folder(step))) {
    step.node.at("to").fail(
        "holds a model package already, and not one of this training ('{}' is not there); choose "
        "another folder, or delete it",
        training_folder(step).string());
  }
}

/// @throws the DataError of `check` with the place of the step's data
template <typename Check>
void at_data(const TrainStep& step, const Check& check) {
  try {
    check();
  } catch (const DataError& error) {
    throw DataError("{}: {}", step.node.at("data").where(), error.what());
  }
}

void check_label_names(const TrainStep& step, const FoundCases& found, const DataContract& contract) {
  at_data(step, [&] { LabelNames(found.dataset, contract.labels, step.preparation.labels(contract)); });
}

std::vector<std::string> names_of(const std::vector<Case>& cases) {
  std::vector<std::string> names;
  for (const Case& each : cases) names.push_back(each.name);
  return names;
}

/// Whether every case has an image that is learnt from.
void check_images(const TrainStep& step, const FoundCases& found, const std::vector<Case>& cases) {
  const auto channel = step.preparation.channel().number(found.dataset);
  if (step.preparation.skips_bad()) return;
  at_data(step, [&] {
    for (const Case& each : cases) image_of(each, channel);
  });
}

/// Before an earlier step has trained for hours. @throws DataError
void check_label_maps(const TrainStep& step, const std::vector<Case>& cases, const std::string& needs) {
  std::vector<std::string> without;
  for (const Case& each : cases) {
    if (!each.label) without.push_back(each.name);
  }
  const bool some_will_do = step.preparation.skips_bad() && without.size() < cases.size();
  if (needs.empty() || without.empty() || some_will_do) return;
  throw DataError("{}: {} of {} cases in '{}' have no label map ({}), which {} needs", step.node.at("data").where(),
                  without.size(), cases.size(), step.data.string(), first_of(without), needs);
}

}  // namespace

std::vector<Case> cases_to_read(const TrainStep& step) {
  return std::filesystem::exists(step.data) ? cases_of(step, found_cases(step)) : std::vector<Case>();
}

std::string what_needs_labels(const TrainStep& step, const ModelPackage& package, const Registry& registry) {
  if (package.contract().makes_labels()) return "the model, which makes them,";
  if (step.node.at("crop_at").is_object()) return "\"crop_at\"";
  if (step.node.get<std::string>("component") != "denoiser") return "";
  if (step.node.contains("loss_weights")) return "\"loss_weights\"";
  const ComponentSpec* spec = conditioner_in_want_of_mask(package, registry);
  return spec == nullptr ? "" : fmt::format("conditioner '{}' ({})", spec->role, spec->component);
}

void check_training_data(const TrainStep& step) {
  CacheOptions::read(step.node);
  check_validation(step.node, SplitOptions::read(step.split, step.seed));
  if (!std::filesystem::exists(step.data)) return;
  CaseConditions::read(step.node).check_cases(names_of(cases_to_read(step)));
}

void check_trainer(const ConfigNode& step, const ModelPackage& package, Host& host) {
  const ModelPackage parts = package.without_weights();
  const auto role = step.get<std::string>("component");
  const auto with = step.get<std::vector<std::string>>("with");
  std::vector<Trainer::Peer> peers;
  if (step.contains("perceptual")) {
    Json network = step.at("perceptual").json();
    network.erase("weights");
    const ComponentSpec spec = read_component("perceptual", step.at("perceptual").with_value(std::move(network)));
    peers.push_back({spec.role, create_component(host, spec), false});
  }
  for (const ComponentSpec& spec : parts.conditioners()) {
    const auto component = role == "denoiser" ? create_component(host, spec) : nullptr;
    const auto conditioner = std::dynamic_pointer_cast<Conditioner>(component);
    const bool learns = std::find(with.begin(), with.end(), spec.role) != with.end();
    if (conditioner && conditioner->has_step()) peers.push_back({spec.role, component, learns});
  }
  const auto learner = create_component(host, *parts.part(role));
  Trainer::check(*learner, peers, step.at("options").with_value(trainer_options(step, host)));
}

void check_train_step(const TrainStep& step, Host& host) {
  const ModelPackage package = ModelPackage::load(step.model, host.registry());
  check_target(step, package);
  if (step.model_is_made) package.verify_weights();
  for (const ComponentSpec& spec : package.all()) info_of(spec, host.registry());
  check_conditions(step.node, package, host.registry());
  check_train_keys(step.node, step.preparation, package, host.registry());
  check_trainer(step.node, package, host);
  CaseConditions::read(step.node).check_columns(package, host.registry());
  if (const auto features = perceptual_network(step)) info_of(*features, host.registry());
  if (step.model_is_made) check_lora(step.node, package);
  case_bytes(step, host);
  if (!std::filesystem::exists(step.data))
    step.node.at("data").fail("names no folder: '{}' does not exist",
                              std::filesystem::absolute(step.data).lexically_normal().string());
  const FoundCases found = found_cases(step);
  check_label_names(step, found, package.contract());
  const std::vector<Case> cases = cases_of(step, found);
  if (!package.contract().makes_labels()) check_images(step, found, cases);
  CaseModalities::read(step.node, package.contract().labels).check(names_of(cases));
  check_label_maps(step, cases, what_needs_labels(step, package, host.registry()));
}

}  // namespace medgen
