// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/case_sizes.h"
#include "core/pipeline/demand.h"
#include "core/pipeline/sample.h"
#include "core/pipeline/train_step.h"

namespace medgen {

/// What a plan tries out, of a training too, to say what would fit.
struct TrainWhatIf : WhatIf {
  bool recompute = false;   ///< checkpoint_activations
  bool read_again = false;  ///< no case stays in memory
  bool on_disk = false;     ///< optimizer_state
};

/// What a training takes: networks with gradients, moments and averages, kept activations, a batch, cases and
/// latents in memory, and the copy that a package is written from. All of it is given back in the end.
/// @param planner  creates components, without their weights, to ask them.
Demand demand_to_train(const TrainStep& step, Host& planner, const CaseSizes& cases, const TrainWhatIf& what_if = {});

}  // namespace medgen
