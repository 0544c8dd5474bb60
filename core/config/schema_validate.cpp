// SPDX-License-Identifier: Apache-2.0
#include "core/base/text.h"
#include "core/config/schema_state.h"
#include "core/config/schema_union.h"
#include "core/config/utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace medgen {
namespace {

bool lists(const Json& values, const Json& value) {
  return std::any_of(values.begin(), values.end(), [&](const Json& one) { return same_content(one, value); });
}

/// Long double holds every 64-bit integer, where double would round.
long double number_of(const Json& value) {
  if (value.is_number_unsigned()) return static_cast<long double>(value.get<std::uint64_t>());
  if (value.is_number_integer()) return static_cast<long double>(value.get<std::int64_t>());
  return static_cast<long double>(value.get<double>());
}

bool in_range(const Json& schema, long double value) {
  const auto bound = [&](const char* keyword) { return number_of(schema[keyword]); };
  return !(schema.contains("minimum") && value < bound("minimum")) &&
         !(schema.contains("maximum") && value > bound("maximum")) &&
         !(schema.contains("exclusiveMinimum") && value <= bound("exclusiveMinimum")) &&
         !(schema.contains("exclusiveMaximum") && value >= bound("exclusiveMaximum"));
}

/// 0.3 is a multiple of 0.1: both are rounded when they are read.
bool is_multiple(long double value, long double unit) {
  const long double ratio = value / unit;
  return std::abs(ratio - std::round(ratio)) <= 1e-9L * std::max(1.0L, std::abs(ratio)) || ratio == std::round(ratio);
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool in_count(const Json& schema, const char* low, const char* high, std::size_t count) {
  return !(schema.contains(low) && count < schema[low].get<std::size_t>()) &&
         !(schema.contains(high) && count > schema[high].get<std::size_t>());
}

/// Collects what is wrong with a value.
class Validator {
 public:
  explicit Validator(const Schema::State& state) : state_(state) {}

  std::vector<SchemaProblem> take() { return std::move(problems_); }

  void check(const ConfigNode& node, const Json& schema) {
    if (problems_.size() >= kMaxProblems || schema == true) return;
    if (schema == false) return add(node, "is not allowed");
    if (schema.contains("$ref")) check(node, *find_reference(state_.root(), schema["$ref"].get<std::string>()));
    if (!check_kind(node, schema)) return;
    const Json& value = node.json();
    if (value.is_number()) check_number(node, schema);
    if (value.is_string()) check_string(node, schema);
    if (value.is_array()) check_array(node, schema);
    if (value.is_object()) check_object(node, schema);
    if (schema.contains("allOf")) {
      for (const Json& part : schema["allOf"]) check(node, part);
    }
    if (schema.contains("oneOf")) check_union(node, schema, "oneOf");
    if (schema.contains("anyOf")) check_union(node, schema, "anyOf");
  }

 private:
  void add(const ConfigNode& node, std::string message, bool at_key = false) {
    if (problems_.size() < kMaxProblems) problems_.push_back({node, std::move(message), at_key});
  }

  void add_mismatch(const ConfigNode& node, const Json& schema) {
    add(node, fmt::format("must be {}, got {}", describe_schema(state_.root(), schema), excerpt(node.json())));
  }

  /// type, const and enum: when they fail, the rest says nothing new.
  bool check_kind(const ConfigNode& node, const Json& schema) {
    const Json& value = node.json();
    const auto types = types_of(schema);
    const bool typed =
        types.empty() || std::any_of(types.begin(), types.end(), [&](auto& t) { return has_type(value, t); });
    const bool constant = !schema.contains("const") || same_content(schema["const"], value);
    const bool listed = !schema.contains("enum") || lists(schema["enum"], value);
    if (typed && constant && listed) return true;
    std::vector<std::string> names;
    for (const Json& one : schema.value("enum", Json::array())) {
      if (one.is_string()) names.push_back(one.get<std::string>());
    }
    const std::string hint = value.is_string() ? did_you_mean(value.get<std::string>(), names) : "";
    add(node, fmt::format("must be {}, got {}{}", describe_schema(state_.root(), schema), excerpt(value), hint));
    return false;
  }

  void check_number(const ConfigNode& node, const Json& schema) {
    const long double value = number_of(node.json());
    if (!in_range(schema, value)) return add_mismatch(node, schema);
    if (schema.contains("multipleOf") && !is_multiple(value, number_of(schema["multipleOf"]))) {
      add(node, fmt::format("must be a multiple of {}, got {}", excerpt(schema["multipleOf"]), excerpt(node.json())));
    }
  }

  void check_string(const ConfigNode& node, const Json& schema) {
    const auto text = node.as<std::string>();
    if (!in_count(schema, "minLength", "maxLength", characters(text))) return add_mismatch(node, schema);
    if (!schema.contains("pattern")) return;
    if (text.size() > kMaxPatternBytes) {
      return add(node, fmt::format("is longer than {} bytes: {}", kMaxPatternBytes, excerpt(node.json())));
    }
    if (!std::regex_search(text, state_.patterns.at(schema["pattern"].get<std::string>()))) add_mismatch(node, schema);
  }

  void check_array(const ConfigNode& node, const Json& schema) {
    const std::vector<ConfigNode> items = node.items();
    if (!in_count(schema, "minItems", "maxItems", items.size())) return add_mismatch(node, schema);
    const Json prefix = schema.value("prefixItems", Json::array());
    for (std::size_t i = 0; i < items.size() && problems_.size() < kMaxProblems; ++i) {
      if (i < prefix.size()) check(items[i], schema["prefixItems"][i]);
      if (i >= prefix.size() && schema.contains("items")) check(items[i], schema["items"]);
    }
    if (schema.value("uniqueItems", false)) check_unique(items);
  }

  void check_unique(const std::vector<ConfigNode>& items) {
    std::set<std::string> seen;
    for (const ConfigNode& item : items) {
      if (!seen.insert(dump_canonical(item.json())).second) add(item, fmt::format("repeats {}", excerpt(item.json())));
    }
  }

  void check_object(const ConfigNode& node, const Json& schema) {
    for (const auto& [key, member] : node.members()) {
      if (problems_.size() >= kMaxProblems) return;
      if (schema.contains("propertyNames")) check_name(key, member, schema["propertyNames"]);
      if (schema.contains("properties") && schema["properties"].contains(key)) {
        check(member, schema["properties"][key]);
      } else if (schema.contains("additionalProperties")) {
        check_additional(member, key, schema);
      }
    }
    check_required(node, schema);
    if (!in_count(schema, "minProperties", "maxProperties", node.json().size())) {
      add(node, fmt::format("must have {}, got {} keys", count_of_keys(schema), node.json().size()));
    }
  }

  static std::string count_of_keys(const Json& schema) {
    if (!schema.contains("maxProperties"))
      return fmt::format("at least {} keys", schema["minProperties"].get<std::size_t>());
    const std::size_t low = schema.value("minProperties", std::size_t{0});
    return fmt::format("{} to {} keys", low, schema["maxProperties"].get<std::size_t>());
  }

  void check_name(const std::string& key, const ConfigNode& member, const Json& schema) {
    const auto inner = find_problems(state_, schema, member.with_value(key));
    for (const SchemaProblem& problem : inner) add(member, "is a wrong key: it " + problem.message, true);
  }

  void check_additional(const ConfigNode& member, const std::string& key, const Json& schema) {
    if (schema["additionalProperties"] != false) return check(member, schema["additionalProperties"]);
    std::vector<std::string> known;
    if (schema.contains("properties")) {
      for (const auto& property : schema["properties"].items()) known.push_back(property.key());
    }
    std::string hint = did_you_mean(key, known);
    if (hint.empty() && !known.empty())
      hint = fmt::format(" (known: {})", clip(fmt::format("{}", fmt::join(known, ", ")), 200));
    add(member, fmt::format("is an unknown key{}", hint), true);
  }

  void check_required(const ConfigNode& node, const Json& schema) {
    if (!schema.contains("required")) return;
    for (const Json& name : schema["required"]) {
      const auto key = name.get<std::string>();
      if (node.contains(key)) continue;
      const Json& properties = schema.contains("properties") ? schema["properties"] : schema;
      const bool known = schema.contains("properties") && properties.contains(key);
      const std::string form = known ? fmt::format(": {}", describe_schema(state_.root(), properties[key])) : "";
      add(node, fmt::format("needs the key \"{}\"{}", key, form));
    }
  }

  void check_union(const ConfigNode& node, const Json& schema, const char* keyword) {
    const bool exclusive = std::string_view(keyword) == "oneOf";
    std::vector<UnionBranch> branches;
    std::size_t fitting = 0;
    for (const Json& branch : schema[keyword]) {
      branches.push_back({&dereference(state_.root(), branch), find_problems(state_, branch, node)});
      if (branches.back().problems.empty()) ++fitting;
    }
    if (fitting == 1 || (fitting > 0 && !exclusive)) return;
    if (fitting > 1) return add(node, fmt::format("fits {} of its forms at once, one is wanted", fitting));
    for (SchemaProblem& problem : explain_union(state_, node, schema, branches)) {
      add(problem.node, std::move(problem.message), problem.at_key);
    }
  }

  const Schema::State& state_;
  std::vector<SchemaProblem> problems_;
};

}  // namespace

std::vector<SchemaProblem> find_problems(const Schema::State& state, const Json& schema, const ConfigNode& node) {
  Validator validator(state);
  validator.check(node, schema);
  return validator.take();
}

}  // namespace medgen
