// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/case_conditions.h"
#include "core/pipeline/model.h"
#include "core/pipeline/training_data.h"
#include "core/run/observer.h"
#include "core/train/loop.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace medgen {

struct TrainingSampleOptions {
  std::string step;
  std::size_t count = 1;  ///< cases: held-out ones where there are any
  int steps = 0;          ///< of the sampling; 0: the model's own number
  CaseConditions conditions;
  std::uint64_t seed = 0;
  std::filesystem::path folder;  ///< of the files
};

/// What a model can do in the midst of its training: cases through the compressor and back, or images generated from
/// their label maps. Written as ITERATION_CASE.nii.gz and, beside the real ones, as ITERATION.png. What cannot be
/// written is warned of.
/// @param package  with what was learnt. @param compressor  is what learns, else the denoiser.
/// @throws Cancelled
TrainingSample make_training_sample(const ModelPackage& package, bool compressor, const TrainingData& data,
                                    std::uint64_t iteration, const TrainingSampleOptions& options, Host& host,
                                    const RunObserver& observer);

}  // namespace medgen
