// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/pipeline/case_conditions.h"
#include "core/pipeline/train_step.h"
#include "core/pipeline/training_data.h"
#include "core/train/loop.h"

namespace medgen {

/// What a package says of its training: the step's keys and every option of its trainer, cases learnt from, held out
/// and left out, how long it went on. No times and no folders of this machine: a later step's checkpoint belongs to
/// this record to the letter, also when the step is run again, and the package goes to others.
Json training_record(const TrainStep& step, const TrainingData& data, const CaseConditions& conditions,
                     const Json& options, const LoopResult& result);

}  // namespace medgen
