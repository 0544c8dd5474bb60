// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/schema.h"

#include <map>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// Most problems that are gathered, and the longest string that is matched with a pattern: std::regex recurses per
/// character.
inline constexpr std::size_t kMaxProblems = 20;
inline constexpr std::size_t kMaxPatternBytes = 512;

/// A schema that has been checked. Used inside core/config only.
struct Schema::State {
  ConfigNode node;
  std::map<std::string, std::regex> patterns;

  const Json& root() const noexcept { return node.json(); }
};

/// What is wrong with one value; its text is made when it is shown.
struct SchemaProblem {
  ConfigNode node;
  std::string message;
  bool at_key = false;
};

/// The schema that a `$ref` leads to, null when there is none.
const Json* find_reference(const Json& root, const std::string& reference);
/// `schema`, or what it refers to when it is nothing but a reference to another.
const Json& dereference(const Json& root, const Json& schema);

/// The value has the JSON Schema type "integer", "object", ...
bool has_type(const Json& value, std::string_view type);
/// The names in `type`, which is a string or an array; empty when the schema has none.
std::vector<std::string> types_of(const Json& schema);

/// "an integer >= 1", "one of \"linear\", \"nearest\"", "an array of 3 numbers or null": what follows "must be".
std::string describe_schema(const Json& root, const Json& schema);

/// @throws ConfigError, with the place in the schema, for anything outside the subset. Fills `state.patterns`.
void check_schema(const ConfigNode& schema, std::map<std::string, std::regex>& patterns);

/// Every `default` satisfies the schema that it stands in. @throws ConfigError otherwise.
void check_defaults(const Schema::State& state);

/// Problems of `node` under `schema`, a part of `state.root()`.
std::vector<SchemaProblem> find_problems(const Schema::State& state, const Json& schema, const ConfigNode& node);

}  // namespace medgen
