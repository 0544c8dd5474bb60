// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/data_split.h"
#include "core/pipeline/model.h"
#include "core/pipeline/train_step.h"
#include "core/train/loop.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// "cache" of a train step.
struct CacheOptions {
  std::filesystem::path folder;
  std::uint64_t size = 0;  ///< bytes

  /// Nothing where the step has none.
  static std::optional<CacheOptions> read(const ConfigNode& step);
};

/// "validate" of a train step, or its defaults.
struct ValidateOptions {
  std::uint64_t every = 500;
  std::size_t cases = 32;  ///< at most
  std::size_t times = 4;   ///< noise levels that a denoiser sees of each
  std::uint64_t patience = 0;

  static ValidateOptions read(const ConfigNode& step);
};

/// The feature network of a compressor's perceptual loss. @throws ConfigError for a step that trains another part.
std::optional<ComponentSpec> perceptual_network(const TrainStep& step);

/// Whether the part's trainer knows the step's options, and everything that the step says means something for that
/// part: as far as the pipeline tells, without weights and data. @throws ConfigError
void check_train_keys(const ConfigNode& step, const Preparation& preparation, const ModelPackage& package,
                      const Registry& registry);

/// Whether the part's trainer takes the options and the networks beside it, as far as it tells without weights.
/// @throws ConfigError
void check_trainer(const ConfigNode& step, const ModelPackage& package, Host& host);

/// What of a step needs label maps, for messages; empty: nothing does.
std::string what_needs_labels(const TrainStep& step, const ModelPackage& package, const Registry& registry);

/// What is likely not meant, though it means something.
std::vector<std::string> train_warnings(const ConfigNode& step);

/// Whether what adapters ("lora") are added to is there. @throws ConfigError
void check_lora(const ConfigNode& step, const ModelPackage& package);

/// @throws ConfigError for keys that need cases to validate on where there are none.
void check_validation(const ConfigNode& step, const SplitOptions& split);

/// The step's options for its trainer, with the precision of the run where they name none.
Json trainer_options(const ConfigNode& step, const Host& host);

/// The rows of every batch that this process computes. @throws ConfigError when there are too few for all.
BatchShare batch_share(const TrainStep& step);

/// Bytes of cases that stay in memory: what "loader" says, or half of this process's budget or part of what there is.
std::uint64_t case_bytes(const TrainStep& step, const Host& host);

/// Bytes of latents and conditions that stay in memory: a quarter of the same.
std::uint64_t encoded_bytes(const TrainStep& step, const Host& host);

/// Where checkpoints, log and samples of a training are: TO/training/STEP.
std::filesystem::path training_folder(const TrainStep& step);

/// Those that a training would read; none where the folder is not there. @throws DataError as `training_cases`
std::vector<Case> cases_to_read(const TrainStep& step);

/// Of the run and of the trainer: part of what decides a training.
Json precisions_of(const TrainStep& step, const Host& host);

/// How far a training has come that was interrupted, or has ended; nothing where there is no checkpoint.
/// @throws DataError where that is of another training, as far as it is known without data and model
std::optional<std::uint64_t> interrupted_at(const TrainStep& step, const Host& host);

/// @param identity  what decides the training beside the options: data, model, seed, precision.
LoopOptions read_loop_options(const TrainStep& step, const Json& identity);

}  // namespace medgen
