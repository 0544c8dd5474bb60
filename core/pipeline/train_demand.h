// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/demand.h"
#include "core/pipeline/sample.h"
#include "core/pipeline/train_step.h"

#include <cstdint>
#include <filesystem>

namespace medgen {

/// How large the cases of a data folder are in memory, from their headers.
struct CaseSizes {
  double bytes = 0;  ///< of all, scaled to float32 and with their label maps
  Size3 largest{0, 0, 0};

  /// Looks at a few dozen evenly spread cases and takes the others to be like them; those that cannot be read are left
  /// to the training.
  static CaseSizes of(const std::filesystem::path& data);
};

/// What a plan tries out, of a training too, to say what would fit.
struct TrainWhatIf : WhatIf {
  bool recompute = false;  ///< checkpoint_activations
};

/// What a training takes: networks with gradients, moments and averages, kept activations, a batch, cases in memory,
/// and the copy that a checkpoint is written from. All of it is given back in the end.
/// @param planner  creates components, without their weights, to ask them.
Demand demand_to_train(const TrainStep& step, Host& planner, const CaseSizes& cases, const TrainWhatIf& what_if = {});

}  // namespace medgen
