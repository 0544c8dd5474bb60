// SPDX-License-Identifier: Apache-2.0
// What of a train step can be checked without computing.
#include "core/io/dataset.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/conditions.h"
#include "core/pipeline/model.h"
#include "core/pipeline/train_options.h"
#include "core/pipeline/train_step.h"

namespace medgen {

void check_training_data(const TrainStep& step) {
  CacheOptions::read(step.node);
  const SplitOptions split = SplitOptions::read(step.split, step.seed);
  check_validation(step.node, split);
  if (!std::filesystem::exists(step.data)) return;
  const Dataset dataset = open_dataset(step.data);
  const Split parts = split_cases(dataset.cases, split);
  std::vector<std::string> names;
  for (const auto* part : {&parts.train, &parts.validation}) {
    for (const std::size_t index : *part) names.push_back(dataset.cases[index].name);
  }
  CaseConditions::read(step.node).check_cases(names);
}

void check_train_step(const TrainStep& step, Host& host) {
  const ModelPackage package = ModelPackage::load(step.model, host.registry());
  for (const ComponentSpec& spec : package.all()) info_of(spec, host.registry());
  check_conditions(step.node, package, host.registry());
  check_train_keys(step.node, step.preparation, package, host.registry());
  CaseConditions::read(step.node).check_columns(package, host.registry());
  if (const auto features = perceptual_network(step)) info_of(*features, host.registry());
  if (step.model_is_made) check_lora(step.node, package);
  case_bytes(step, host);
  open_dataset(step.data);
}

}  // namespace medgen
