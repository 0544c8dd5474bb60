// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/host.h"
#include "core/train/trainer.h"

#include <memory>
#include <string>
#include <vector>

namespace medgen::cli {

/// The function name under which `probe` does a step of training.
inline constexpr std::string_view kTrainFunction = "train";

/// A component that takes part in a training, from "ROLE=FILE"; the file holds {"component", "config", "weights",
/// "trained"}. @throws UsageError, ConfigError, DataError
Trainer::Peer open_peer(Host& host, const std::string& text);

struct TrainProbe {
  std::vector<Trainer::Peer> peers;
  TensorMap state;         ///< to begin with, as a checkpoint holds it: the optimiser's, and weights if it has any
  bool gradients = false;  ///< also every gradient, "gradients/NAME"
};

/// One step of training, without an update: losses, and the gradient norm of each network ("gradient_norm", and
/// "gradient_norm/ROLE" of those beside the component's own). in.params_json are the trainer's options.
TensorMap probe_train(const std::shared_ptr<Component>& component, TrainProbe probe, const Inputs& in,
                      CallContext context);

}  // namespace medgen::cli
