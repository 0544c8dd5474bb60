// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/train/log_writer.h"
#include "core/train/trainer.h"
#include "core/train/watch.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace medgen {

/// In the folder of a training: the last state, and that of the lowest loss on held-out cases. @{
inline constexpr const char* kCheckpointFile = "checkpoint.safetensors";
inline constexpr const char* kBestFile = "best.safetensors";

/// @}

/// The lowest loss on held-out cases, and where it was reached.
struct BestLoss {
  double loss = 0;
  std::uint64_t iteration = 0;
  Scalars scalars = {};  ///< of that validation, the loss among them
};

/// Where a training stands, beside what its learner holds.
struct LoopState {
  std::uint64_t iteration = 0;  ///< done
  double seconds = 0;
  Watch::State watch;
  std::optional<BestLoss> best;
  std::uint64_t stale = 0;      ///< validations since the best
  std::uint64_t validated = 0;  ///< the last iteration after which there was a validation
  Scalars scalars;              ///< of the last validation
  std::uint64_t sampled = 0;    ///< the same of samples
};

/// Everything that a training needs to go on, complete or not at all.
/// @param fingerprint  of the training: `load_checkpoint` refuses another one, and tells what differs where both are
/// JSON.
/// @throws RuntimeError when a weight or moment is not finite, or the disk fails; what was there before stays.
void save_checkpoint(const std::filesystem::path& path, Learner& learner, const LoopState& state,
                     const std::string& fingerprint);

/// Gives the learner what the file holds. @throws DataError when it is of another training or damaged; the learner is
/// as it was then.
LoopState load_checkpoint(const std::filesystem::path& path, Learner& learner, const std::string& fingerprint);

/// How far the training of a checkpoint has come, from its header alone. @param known  what of the fingerprint, a JSON
/// object, is known before data and model are read, by JSON pointer. @throws DataError as load_checkpoint
std::uint64_t iteration_of_checkpoint(const std::filesystem::path& path, const std::map<std::string, Json>& known);

/// Tells whether two processes hold the same weights, to the bit.
std::string weights_hash(Learner& learner);

}  // namespace medgen
