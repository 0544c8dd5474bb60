// SPDX-License-Identifier: Apache-2.0
#include "core/config/schema_union.h"

#include "core/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <tuple>

namespace medgen {
namespace {

/// The values that a property may have by `const` or `enum`; empty when it is free or unknown.
std::vector<Json> fixed_values(const Json& root, const Json& schema, const std::string& key) {
  if (!schema.contains("properties") || !schema["properties"].contains(key)) return {};
  const Json& property = dereference(root, schema["properties"][key]);
  if (!property.is_object()) return {};
  if (property.contains("const")) return {property["const"]};
  return property.contains("enum") ? property["enum"].get<std::vector<Json>>() : std::vector<Json>{};
}

bool is_among(const Json& value, const std::vector<Json>& values) {
  return std::any_of(values.begin(), values.end(), [&](const Json& one) { return same_content(one, value); });
}

bool same_kind(const Json& a, const Json& b) {
  return a.type() == b.type() || (a.is_number() && b.is_number());
}

/// A value of this kind could fit the form.
bool kind_fits(const Json& root, const Json& value, const Json& schema) {
  if (!schema.is_object()) return schema == true;
  if (schema.contains("const")) return same_kind(schema["const"], value);
  if (schema.contains("enum")) {
    const Json& values = schema["enum"];
    return std::any_of(values.begin(), values.end(), [&](const Json& one) { return same_kind(one, value); });
  }
  for (const char* keyword : {"oneOf", "anyOf"}) {
    if (!schema.contains(keyword)) continue;
    const Json& branches = schema[keyword];
    return std::any_of(branches.begin(), branches.end(),
                       [&](const Json& branch) { return kind_fits(root, value, dereference(root, branch)); });
  }
  const auto types = types_of(schema);
  return types.empty() || std::any_of(types.begin(), types.end(), [&](auto& type) { return has_type(value, type); });
}

/// How well an object fits a form: greater is better.
std::tuple<int, int, int> affinity(const Json& root, const Json& value, const UnionBranch& branch) {
  int constants = 0, required = 0;
  for (const auto& [key, member] : value.items()) {
    const auto values = fixed_values(root, *branch.schema, key);
    if (!values.empty()) constants += is_among(member, values) ? 1 : -1;
  }
  for (const Json& key : branch.schema->value("required", Json::array())) {
    required += value.contains(key.get<std::string>()) ? 1 : -1;
  }
  return {constants, required, -static_cast<int>(branch.problems.size())};
}

/// A required property that has constant values in every form, by which forms are told apart; "" when there is none.
std::string discriminator(const Json& root, const std::vector<const UnionBranch*>& branches) {
  for (const Json& name : branches[0]->schema->value("required", Json::array())) {
    const auto key = name.get<std::string>();
    const auto fixes = [&](const UnionBranch* branch) { return !fixed_values(root, *branch->schema, key).empty(); };
    if (std::all_of(branches.begin(), branches.end(), fixes)) return key;
  }
  return "";
}

/// The value names no form by its discriminator: says which there are. Empty when it does name one.
std::vector<SchemaProblem> explain_discriminator(const Json& root, const ConfigNode& node, const std::string& key,
                                                 const std::vector<const UnionBranch*>& branches) {
  std::vector<std::string> texts, names;
  for (const UnionBranch* branch : branches) {
    for (const Json& value : fixed_values(root, *branch->schema, key)) {
      if (node.contains(key) && same_content(value, node.json()[key])) return {};
      texts.push_back(excerpt(value, 40));
      if (value.is_string()) names.push_back(value.get<std::string>());
    }
  }
  const std::string wanted = fmt::format("one of {}", fmt::join(texts, ", "));
  if (!node.contains(key)) return {{node, fmt::format("needs the key \"{}\": {}", key, wanted)}};
  const ConfigNode member = node.at(key);
  const std::string hint = member.is_string() ? did_you_mean(member.as<std::string>(), names) : "";
  return {{member, fmt::format("must be {}, got {}{}", wanted, excerpt(member.json()), hint)}};
}

}  // namespace

std::vector<SchemaProblem> explain_union(const Schema::State& state, const ConfigNode& node, const Json& schema,
                                         const std::vector<UnionBranch>& branches) {
  const Json& value = node.json();
  std::vector<const UnionBranch*> likely;
  for (const UnionBranch& branch : branches) {
    if (kind_fits(state.root(), value, *branch.schema)) likely.push_back(&branch);
  }
  if (likely.size() == 1 && value.is_structured()) return likely[0]->problems;
  if (likely.empty() || !value.is_object()) {
    return {{node, fmt::format("must be {}, got {}", describe_schema(state.root(), schema), excerpt(value))}};
  }
  if (const std::string key = discriminator(state.root(), likely); !key.empty()) {
    auto problems = explain_discriminator(state.root(), node, key, likely);
    if (!problems.empty()) return problems;
  }
  const auto best = std::max_element(likely.begin(), likely.end(), [&](const UnionBranch* a, const UnionBranch* b) {
    return affinity(state.root(), value, *a) < affinity(state.root(), value, *b);
  });
  return (*best)->problems;
}

}  // namespace medgen
