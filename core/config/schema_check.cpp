// SPDX-License-Identifier: Apache-2.0
#include "core/base/text.h"
#include "core/config/schema_state.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>

namespace medgen {
namespace {

constexpr std::array kTypes = {"null", "boolean", "object", "array", "number", "integer", "string"};

/// Checks a schema, keyword by keyword.
class SchemaCheck {
 public:
  SchemaCheck(const ConfigNode& root, std::map<std::string, std::regex>& patterns) : root_(root), patterns_(patterns) {}

  void check(const ConfigNode& schema) {
    if (schema.json().is_boolean()) return;
    if (!schema.is_object()) schema.fail("must be a schema: an object, true or false; got {}", excerpt(schema.json()));
    for (const auto& [keyword, value] : schema.members()) {
      if (keyword.starts_with("x-")) continue;
      const auto entry = keywords().find(keyword);
      if (entry == keywords().end()) fail_keyword(value, keyword);
      (this->*entry->second)(value);
    }
  }

  /// A schema that must hold for a value if it holds for the same value can never be decided.
  void check_loops(const Json& schema, const ConfigNode& start) {
    if (!schema.is_object() || done_.contains(&schema)) return;
    if (!open_.insert(&schema).second) start.fail("refers to itself without end");
    if (schema.contains("$ref")) check_loops(*find_reference(root_.json(), schema["$ref"].get<std::string>()), start);
    for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
      if (!schema.contains(keyword)) continue;
      for (const Json& part : schema[keyword]) check_loops(part, start);
    }
    open_.erase(&schema);
    done_.insert(&schema);
  }

  const std::vector<ConfigNode>& references() const { return references_; }

 private:
  using Check = void (SchemaCheck::*)(const ConfigNode&);

  static const std::map<std::string, Check>& keywords() {
    using Self = SchemaCheck;
    static const std::map<std::string, Check> table = {{"$schema", &Self::text},
                                                       {"$id", &Self::text},
                                                       {"$comment", &Self::text},
                                                       {"title", &Self::text},
                                                       {"description", &Self::text},
                                                       {"default", &Self::anything},
                                                       {"examples", &Self::anything},
                                                       {"deprecated", &Self::boolean},
                                                       {"$defs", &Self::schema_map},
                                                       {"$ref", &Self::reference},
                                                       {"type", &Self::type},
                                                       {"enum", &Self::values},
                                                       {"const", &Self::anything},
                                                       {"properties", &Self::schema_map},
                                                       {"required", &Self::names},
                                                       {"additionalProperties", &Self::check},
                                                       {"propertyNames", &Self::check},
                                                       {"minProperties", &Self::count},
                                                       {"maxProperties", &Self::count},
                                                       {"items", &Self::check},
                                                       {"prefixItems", &Self::schemas},
                                                       {"minItems", &Self::count},
                                                       {"maxItems", &Self::count},
                                                       {"uniqueItems", &Self::boolean},
                                                       {"minimum", &Self::number},
                                                       {"maximum", &Self::number},
                                                       {"exclusiveMinimum", &Self::number},
                                                       {"exclusiveMaximum", &Self::number},
                                                       {"multipleOf", &Self::positive},
                                                       {"minLength", &Self::count},
                                                       {"maxLength", &Self::count},
                                                       {"pattern", &Self::pattern},
                                                       {"oneOf", &Self::schemas},
                                                       {"anyOf", &Self::schemas},
                                                       {"allOf", &Self::schemas}};
    return table;
  }

  [[noreturn]] static void fail_keyword(const ConfigNode& value, const std::string& keyword) {
    std::vector<std::string> known;
    for (const auto& entry : keywords()) known.push_back(entry.first);
    value.fail("is a keyword that medgen's schemas do not have{}", did_you_mean(keyword, known));
  }

  void anything(const ConfigNode&) {}

  void text(const ConfigNode& value) { value.as<std::string>(); }

  void boolean(const ConfigNode& value) { value.as<bool>(); }

  void number(const ConfigNode& value) { value.as<double>(); }

  void positive(const ConfigNode& value) {
    if (!(value.as<double>() > 0)) value.fail("must be a number > 0, got {}", excerpt(value.json()));
  }

  void count(const ConfigNode& value) { value.as<std::uint32_t>(); }

  void names(const ConfigNode& value) { value.as<std::vector<std::string>>(); }

  void values(const ConfigNode& value) {
    if (value.items().empty()) value.fail("must list at least one value");
  }

  void type(const ConfigNode& value) {
    for (const ConfigNode& name : value.is_array() ? value.items() : std::vector{value}) {
      const auto text = name.as<std::string>();
      const std::vector<std::string> known(kTypes.begin(), kTypes.end());
      if (std::find(known.begin(), known.end(), text) == known.end()) {
        name.fail("must be one of {}, got \"{}\"{}", fmt::join(known, ", "), text, did_you_mean(text, known));
      }
    }
  }

  void schemas(const ConfigNode& value) {
    values(value);
    for (const ConfigNode& schema : value.items()) check(schema);
  }

  void schema_map(const ConfigNode& value) {
    for (const auto& member : value.members()) check(member.second);
  }

  void reference(const ConfigNode& value) {
    const auto text = value.as<std::string>();
    if (find_reference(root_.json(), text) == nullptr) {
      value.fail("must be \"#\" or \"#/$defs/NAME\" with a NAME that exists, got \"{}\"", text);
    }
    references_.push_back(value);
  }

  void pattern(const ConfigNode& value) {
    const auto text = value.as<std::string>();
    if (text.size() > kMaxPatternBytes) value.fail("is longer than {} bytes", kMaxPatternBytes);
    try {
      patterns_.insert_or_assign(text, std::regex(text, std::regex::ECMAScript));
    } catch (const std::regex_error&) {
      value.fail("must be an ECMAScript regular expression, got {}", excerpt(value.json()));
    }
  }

  const ConfigNode& root_;
  std::map<std::string, std::regex>& patterns_;
  std::vector<ConfigNode> references_;
  std::set<const Json*> open_, done_;
};

void check_defaults_in(const Schema::State& state, const ConfigNode& node) {
  if (node.is_array()) {
    for (const ConfigNode& item : node.items()) check_defaults_in(state, item);
  }
  if (!node.is_object()) return;
  for (const auto& [key, value] : node.members()) {
    // Below these are values, not schemas.
    if (key == "default" || key == "const" || key == "enum" || key == "examples" || key.starts_with("x-")) continue;
    if (key == "properties" || key == "$defs") {
      for (const auto& member : value.members()) check_defaults_in(state, member.second);
    } else {
      check_defaults_in(state, value);
    }
  }
  if (!node.contains("default")) return;
  const auto problems = find_problems(state, node.json(), node.at("default"));
  if (!problems.empty()) problems[0].node.fail("{} (a default must satisfy its own schema)", problems[0].message);
}

}  // namespace

void check_schema(const ConfigNode& schema, std::map<std::string, std::regex>& patterns) {
  SchemaCheck checker(schema, patterns);
  checker.check(schema);
  for (const ConfigNode& reference : checker.references()) {
    checker.check_loops(*find_reference(schema.json(), reference.as<std::string>()), reference);
  }
}

void check_defaults(const Schema::State& state) {
  check_defaults_in(state, state.node);
}

}  // namespace medgen
