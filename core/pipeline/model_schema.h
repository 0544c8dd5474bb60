// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/schema.h"

namespace medgen {

/// The schema of model.json, and of a model written in line in a pipeline.
const Schema& model_schema();

}  // namespace medgen
