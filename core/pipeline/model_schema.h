// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/schema.h"

#include <string>

namespace medgen {

/// The schema of model.json, and of a model written in line in a pipeline.
const Schema& model_schema();

/// The part of it for "intensity" of a data contract: a JSON Schema that refers to nothing.
std::string intensity_schema();

}  // namespace medgen
