// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/plan.h"

#include <string>

namespace medgen::cli {

/// What `medgen plan` prints: a paragraph for each step, and what the whole run takes.
std::string plan_text(const Plan& plan);

}  // namespace medgen::cli
