// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/parallel/group.h"
#include "core/pipeline/preparation.h"
#include "core/plugin/host.h"
#include "core/run/observer.h"

#include <cstdint>
#include <filesystem>
#include <string>

namespace medgen {

/// Schema of a train step, a JSON text.
const std::string& train_schema();

/// What surrounds a train step.
struct TrainStep {
  std::string name;
  ConfigNode node;   ///< validated, defaults filled in
  ConfigNode model;  ///< the model to train: node's "train", with "@step" replaced by that step's package folder
  bool model_is_made = true;   ///< else an earlier step will make it, and `model` is what the pipeline tells of it
  std::filesystem::path data;  ///< the folder, with "@step" replaced by that step's
  Preparation preparation;     ///< of the cases
  ConfigNode split;            ///< the step whose "split" or "validation" counts: that of "data": "@step", or this one
  std::uint64_t seed = 0;
  Group* group = &Alone::instance();  ///< the processes that train together
};

/// The data, and which of it is held out: what can be checked before the model is made. @throws the first problem.
void check_training_data(const TrainStep& step);

/// Everything else that can be checked without computing. @throws the first problem.
void check_train_step(const TrainStep& step, Host& host);

/// Trains, or goes on from the last checkpoint in the step's folder, and writes the model package there.
/// Of several processes the first one writes.
/// @return the folder. @throws Cancelled after a checkpoint to go on from has been written.
std::filesystem::path run_train_step(const TrainStep& step, Host& host, const RunObserver& observer);

}  // namespace medgen
