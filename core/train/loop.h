// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/run/observer.h"
#include "core/train/trainer.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace medgen {

enum class LearningRate { Constant, Cosine, Polynomial };

struct LoopOptions {
  std::string step;  ///< name of the pipeline step, for progress
  std::uint64_t iterations = 0;
  double minutes = 0;  ///< stops early, learning rate scheduled for it; 0 = no limit
  double learning_rate = 1e-4;
  std::uint64_t warmup = 0;  ///< iterations over which the learning rate rises from 0
  LearningRate schedule = LearningRate::Constant;
  double power = 2;              ///< of the polynomial
  std::uint64_t accumulate = 1;  ///< batches to one optimiser step
  std::uint64_t checkpoint_every = 500;
  std::uint64_t log_every = 10;
  std::uint64_t seed = 0;
  std::filesystem::path folder;  ///< checkpoint.safetensors, log.jsonl and events/
  std::string fingerprint;       ///< of everything that decides the result: a checkpoint with another one is refused
};

/// Makes the batch of an iteration: a function of its number alone, so that a run that goes on from a checkpoint sees
/// what the uninterrupted run would have seen.
using BatchMaker = std::function<TensorMap(std::uint64_t batch)>;

/// The factor on the learning rate at `fraction` of the training, in [0, 1]; without the warm-up.
double schedule_factor(LearningRate schedule, double power, double fraction);

/// Trains until the iterations or the minutes are over, from the last checkpoint in the folder if there is one. Logs
/// one JSON line every log_every iterations, and the same for TensorBoard; checkpoints are complete and atomic.
/// @throws Cancelled after a checkpoint has been written; DataError when a checkpoint belongs to another training or is
/// damaged; RuntimeError when the loss stops being finite (the last good checkpoint stays).
void train_loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options,
                const RunObserver& observer);

}  // namespace medgen
