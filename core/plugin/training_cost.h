// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"
#include "core/component/cost.h"

#include <optional>
#include <string>

namespace medgen {

/// A training step whose memory is asked for (docs/abi.md, "estimate").
struct TrainingShape {
  ShapeMap inputs;
  std::string options_json;      ///< of the trainer
  bool trained = true;           ///< else the network stands between the learner and its loss
  std::uint64_t accumulate = 1;  ///< batches to one optimiser step
};

/// What the component takes of it: `peak_bytes` of activations and gradients, `weights_bytes` with moments and
/// averages.
struct TrainingCost : CallCost {
  std::uint64_t copied_bytes = 0;  ///< of the weights, when they are written or made samples with
};

/// Nothing when the component cannot tell. @throws PluginError when its estimate fails or makes no sense.
std::optional<TrainingCost> estimate_training(const Component& component, const TrainingShape& shape);

std::string training_request(const TrainingShape& shape);
TrainingCost read_training_cost(const std::string& reply);

}  // namespace medgen
