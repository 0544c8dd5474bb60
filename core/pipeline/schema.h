// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/schema.h"

#include <span>
#include <string_view>

namespace medgen {

/// What a step may say, by its verb.
struct VerbSchema {
  std::string_view verb;  ///< "generate": the key that makes a step this step
  const char* schema;
};

std::span<const VerbSchema> verb_schemas();

/// The schema of the whole document; steps are objects here, and are checked by `verb_schema`.
const Schema& document_schema();

/// @throws ConfigError at the step when it has no verb, or more than one.
std::string_view verb_of(const ConfigNode& step);
const Schema& verb_schema(std::string_view verb);

}  // namespace medgen
