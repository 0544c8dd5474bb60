// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/survey/survey.h"

namespace medgen {

/// What a training on these data would start from, in the words of a pipeline: {"crop": [x, y, z], "crop_at": "random",
/// "data": {...}}, where "data" is the model's data contract, with "resample_mm" where voxel sizes differ by more than
/// a tenth: crop and contract are those of that voxel size then. From the usable cases alone; {} when there are none.
/// docs/cli.md tells the rules.
Json suggestion(const Survey& survey);

}  // namespace medgen
