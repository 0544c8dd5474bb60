// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace medgen {

/// A JSON value whose keys keep their order. Sources that look inside include <nlohmann/json.hpp>.
using Json = nlohmann::ordered_json;

/// "an object", "an array", "a string", "an integer", "a number", "true", "false" or "null".
std::string_view kind_of(const Json& value);

/// The value as one line of JSON for a message, cut to about `max_bytes` at a character boundary.
std::string excerpt(const Json& value, std::size_t max_bytes = 60);

/// The text of a manifest: keys in their order, two spaces, a value on one line where it fits in 100 columns, doubles
/// so that they read back to the same bits, a newline at the end. @throws ConfigError for a number that is not finite
/// or a string that is not UTF-8.
std::string dump_pretty(const Json& value);

/// One line, no spaces, keys in their order: what components get as their configuration. Errors as `dump_pretty`.
std::string dump_compact(const Json& value);

/// One line with sorted keys, and integers without a fraction (30.0 is 30): equal contents give equal text.
/// Errors as `dump_pretty`.
std::string dump_canonical(const Json& value);

/// SHA-256 of `dump_canonical`, in hexadecimal.
std::string content_hash(const Json& value);

/// Equal as JSON Schema understands it: numbers by value, objects whatever the order of their keys.
bool same_content(const Json& a, const Json& b);

/// The first values that differ: "steps.ct.steps is 50, was 30; seed is 2, was 1". Empty when none does.
std::string differences(const Json& was, const Json& is);

}  // namespace medgen
