// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/group.h"
#include "core/run/observer.h"
#include "core/train/checkpoint.h"
#include "core/train/log_writer.h"
#include "core/train/trainer.h"
#include "core/train/watch.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
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
  std::uint64_t validate_every = 0;  ///< 0: never; also at the end
  std::uint64_t patience = 0;        ///< validations without a lower loss that end the training; 0: any number
  bool keep_best = false;            ///< the learner ends with the weights of the lowest validation loss
  bool scales_gradients = false;     ///< fp16: a loss that is not finite leaves a step out, as the optimiser does
  std::uint64_t sample_every = 0;    ///< 0: never
  WatchOptions watch;
  std::uint64_t seed = 0;
  std::filesystem::path folder;  ///< the checkpoints, log.jsonl and events/
  std::string fingerprint;       ///< of everything that decides the result: a checkpoint with another one is refused
  Group* group = &Alone::instance();  ///< the processes that train together; the first one writes
  BatchShare share;                   ///< the rows of every batch that this process computes
};

/// Makes the batch of an iteration: a function of its number alone, so that a run that goes on from a checkpoint sees
/// what the uninterrupted run would have seen. Of several processes each makes its share of the rows.
using BatchMaker = std::function<TensorMap(std::uint64_t batch)>;

/// What a training can do at some point.
struct TrainingSample {
  std::string png;                        ///< a picture of it; empty: none
  std::map<std::string, double> spreads;  ///< standard deviations relative to what they should be, for the watch
};

/// What the loop asks for when it is time. Functions of the learner's weights (and `iteration`) alone, which change
/// neither the learner nor what follows. May throw Cancelled: then they are asked again by the run that goes on.
struct LoopHooks {
  std::function<Scalars()> validate;  ///< "loss" on held-out cases, and more: the same for all processes
  std::function<TrainingSample(std::uint64_t iteration)> sample;  ///< asked by the first process
  std::function<std::string(std::uint64_t batch)> describe;       ///< what a batch is made of, for messages
};

struct LoopResult {
  LoopState state;
  std::uint64_t kept = 0;    ///< iteration of the weights that the learner ends with
  bool ended_early = false;  ///< patience was over
};

/// The factor on the learning rate at `fraction` of the training, in [0, 1]; without the warm-up.
double schedule_factor(LearningRate schedule, double power, double fraction);

/// Trains until the iterations, the minutes or the patience are over, from the last checkpoint in the folder if there
/// is one. Logs one JSON line every log_every iterations, and the same for TensorBoard. Checkpoints are complete and
/// atomic: checkpoint.safetensors is the last state, best.safetensors that of the lowest validation loss, and
/// good.safetensors, while the loss rises, the one before it did.
/// Several processes end with the same weights; when one of them fails, the first writes a checkpoint before it ends.
/// @throws Cancelled after a checkpoint has been written; DataError when a checkpoint belongs to another training or is
/// damaged; RuntimeError when the training goes wrong (losses or gradients that are not finite, as `Watch` says): the
/// last good state is checkpoint.safetensors then.
LoopResult train_loop(Learner& learner, const BatchMaker& make_batch, const LoopOptions& options,
                      const RunObserver& observer, const LoopHooks& hooks = {});

}  // namespace medgen
