// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/training_record.h"

#include "core/config/paths.h"
#include "core/pipeline/train_options.h"

#include <medgen/abi/version.h>
#include <nlohmann/json.hpp>

#include <string>

namespace medgen {
namespace {

std::string without_folder(std::string text, const std::filesystem::path& data) {
  const std::string folder = data.string() + "/";
  for (auto at = text.find(folder); at != std::string::npos; at = text.find(folder)) text.erase(at, folder.size());
  return text;
}

/// Names of the cases that were not learnt from.
Json held_out(const TrainingData& data) {
  Json names = {{"validation", Json::array()}, {"test", data.test()}};
  for (const std::size_t number : data.validation()) names["validation"].push_back(data.name(number));
  return names;
}

/// The step's keys; of files and folders the names.
Json keys_of(const TrainStep& step, const CaseConditions& conditions) {
  Json keys = step.node.json();
  for (const char* key : {"train", "to", "cache", "split", "validation"}) keys.erase(key);
  keys["data"] = step.data.filename().string();
  if (const auto features = perceptual_network(step))
    keys["perceptual"]["weights"] = features->weights.filename().string();
  keys.update(step.preparation.json());
  if (conditions.has_table())
    keys["case_conditions"] = resolve_path(step.node.at("case_conditions")).filename().string();
  return keys;
}

/// What the held-out cases said of the weights that are kept; null where they were not asked.
const Scalars* validation_of(const LoopResult& result) {
  if (result.state.best && result.state.best->iteration == result.kept) return &result.state.best->scalars;
  return result.state.validated == result.kept && result.kept > 0 ? &result.state.scalars : nullptr;
}

}  // namespace

Json training_record(const TrainStep& step, const TrainingData& data, const CaseConditions& conditions,
                     const Json& options, const LoopResult& result) {
  Json record = keys_of(step, conditions);
  record["options"] = options;
  record["cases"] = data.training().size();
  record["seed"] = step.seed;
  record["medgen_version"] = MEDGEN_VERSION;
  record["done"] = {{"iterations", result.state.iteration}, {"kept", result.kept}};
  if (result.state.best)
    record["best"] = {{"iteration", result.state.best->iteration}, {"validation_loss", result.state.best->loss}};
  if (const Scalars* const scalars = validation_of(result)) record["validation"] = *scalars;
  if (!data.validation().empty() || !data.test().empty()) record["held_out"] = held_out(data);
  for (const TrainingData::Skipped& each : data.skipped())
    record["skipped"].push_back({{"case", each.name}, {"reason", without_folder(each.reason, step.data)}});
  return record;
}

}  // namespace medgen
