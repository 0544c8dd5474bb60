// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"

#include <string>
#include <string_view>

namespace medgen::cli {

/// The properties of a JSON Schema as lines "key  type  default  meaning", nested ones as "a.b" and "a[].b"; "" when it
/// has none. Required keys have "(required)" in place of a default.
std::string schema_table(const Json& schema, std::string_view indent);

}  // namespace medgen::cli
