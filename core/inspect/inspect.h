// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/inspect/failure.h"
#include "core/pipeline/pipeline.h"
#include "core/plugin/registry.h"

#include <string>

// What is installed and what a pipeline would do, as JSON documents (docs/cli.md lists their keys). The tools print
// them or make tables of them; the C API hands them out.

namespace medgen {

/// {"plugins": [...], "rejected": [...], "searched": [...]}
Json plugins_document(const Registry& registry);

/// {"components": [...], "methods": [...]}: one line of each.
Json catalogue_document(const Registry& registry);

/// A component, method, plugin (by id) or model package (by folder), told apart by "what".
/// @throws ConfigError when it is none of these; it suggests what was probably meant.
Json describe_document(const Registry& registry, const std::string& subject);

/// {"seed", "memory_bytes", ..., "steps": [{"step", "verb", "samples", "text", ...}]}
Json plan_document(const Plan& plan, std::uint64_t seed);

}  // namespace medgen
