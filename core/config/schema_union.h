// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/schema_state.h"

#include <vector>

namespace medgen {

/// One form that oneOf or anyOf offers, references followed, and why the value is not of it. Used inside core/config
/// only.
struct UnionBranch {
  const Json* schema;
  std::vector<SchemaProblem> problems;
};

/// What to tell when no form fits. For objects and arrays: the problems of the form that was meant, which is the only
/// one of that type, else the one whose constant properties the value has, else the one most of whose required keys it
/// has. For other values, and when nothing tells the forms apart: all forms.
std::vector<SchemaProblem> explain_union(const Schema::State& state, const ConfigNode& node, const Json& schema,
                                         const std::vector<UnionBranch>& branches);

}  // namespace medgen
