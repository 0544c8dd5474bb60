// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"

#include <cstddef>
#include <filesystem>
#include <string>

namespace medgen {

/// Largest document, and deepest nesting of objects and arrays, that is read.
inline constexpr std::size_t kMaxConfigBytes = 16u << 20;
inline constexpr std::size_t kMaxConfigDepth = 100;
/// Most keys in one object: finding a key in a Json looks at all of them.
inline constexpr std::size_t kMaxConfigMembers = 10000;

/// JSON (RFC 8259) in UTF-8, with // and /* */ comments and an optional byte order mark. `name` is the file in
/// messages, `folder` where its relative paths start.
/// @throws ConfigError with `name:line:column` for anything that is not that, and for what JSON leaves open and people
/// regret: a key given twice, numbers that do not fit 64 bits or a double, NaN and Infinity, a zero byte.
ConfigNode parse_config(std::string text, std::string name, std::filesystem::path folder = {});

/// The document in a file. @throws ConfigError also when the file cannot be read or is larger than `kMaxConfigBytes`.
ConfigNode read_config(const std::filesystem::path& file);

}  // namespace medgen
