// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/survey/survey.h"

#include <string>

namespace medgen::cli {

/// A survey as people read it: what is there, what is wrong, and what a training would start from.
std::string survey_text(const Survey& survey);

}  // namespace medgen::cli
