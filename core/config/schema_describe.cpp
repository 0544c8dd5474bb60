// SPDX-License-Identifier: Apache-2.0
#include "core/config/schema_state.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr std::size_t kMaxListed = 12;
constexpr std::string_view kDefinitions = "#/$defs/";

void add_unique(std::vector<std::string>& texts, std::string text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
}

std::string describe_values(const Json& values) {
  std::vector<std::string> texts;
  for (const Json& value : values) texts.push_back(excerpt(value, 40));
  if (texts.size() == 1) return texts[0];
  if (texts.size() > kMaxListed) {
    texts.resize(kMaxListed);
    texts.emplace_back("...");
  }
  return fmt::format("one of {}", fmt::join(texts, ", "));
}

/// " >= 1 and <= 10", " > 0".
std::string describe_range(const Json& schema) {
  std::vector<std::string> bounds;
  const std::pair<const char*, const char*> keywords[] = {
      {"minimum", ">="}, {"exclusiveMinimum", ">"}, {"maximum", "<="}, {"exclusiveMaximum", "<"}};
  for (const auto& [keyword, sign] : keywords) {
    if (schema.contains(keyword)) bounds.push_back(fmt::format("{} {}", sign, excerpt(schema[keyword])));
  }
  return bounds.empty() ? "" : fmt::format(" {}", fmt::join(bounds, " and "));
}

/// "3", "1 to 3", "at least 1", "at most 3", or "" when any number will do.
std::string describe_count(const Json& schema, const char* low, const char* high) {
  const bool has_low = schema.contains(low), has_high = schema.contains(high);
  if (has_low && has_high && schema[low] == schema[high]) return excerpt(schema[low]);
  if (has_low && has_high) return fmt::format("{} to {}", excerpt(schema[low]), excerpt(schema[high]));
  if (has_low) return "at least " + excerpt(schema[low]);
  if (has_high) return "at most " + excerpt(schema[high]);
  return "";
}

std::string describe_string(const Json& schema) {
  if (schema.contains("pattern")) {
    const auto pattern = schema["pattern"].get<std::string>();
    const Json examples = schema.value("examples", Json::array());
    if (!examples.is_array() || examples.empty()) return "a string like " + pattern;
    return fmt::format("a string like {} ({})", excerpt(examples[0], 40), pattern);
  }
  if (schema.contains("minLength") && !schema.contains("maxLength") && schema["minLength"] == 1) {
    return "a string that is not empty";
  }
  const std::string length = describe_count(schema, "minLength", "maxLength");
  return length.empty() ? "a string" : fmt::format("a string of {} characters", length);
}

std::string describe_array(const Json& root, const Json& schema) {
  std::string count = describe_count(schema, "minItems", "maxItems");
  if (!count.empty()) count += ' ';
  const Json& items = schema.contains("items") ? dereference(root, schema["items"]) : schema;
  const auto types = schema.contains("items") ? types_of(items) : std::vector<std::string>{};
  if (types.size() != 1 || types[0] == "null")
    return count.empty() ? "an array" : fmt::format("an array of {}values", count);
  return fmt::format("an array of {}{}s{}", count, types[0], describe_range(items));
}

std::string describe_type(const Json& root, const Json& schema, const std::string& type) {
  if (type == "integer") return "an integer" + describe_range(schema);
  if (type == "number") return "a number" + describe_range(schema);
  if (type == "string") return describe_string(schema);
  if (type == "array") return describe_array(root, schema);
  if (type == "object") return "an object";
  return type == "boolean" ? "true or false" : "null";
}

}  // namespace

const Json* find_reference(const Json& root, const std::string& reference) {
  if (reference == "#") return &root;
  if (!reference.starts_with(kDefinitions) || !root.is_object() || !root.contains("$defs")) return nullptr;
  const Json& definitions = root["$defs"];
  const auto found = definitions.find(reference.substr(kDefinitions.size()));
  return found == definitions.end() ? nullptr : &*found;
}

const Json& dereference(const Json& root, const Json& schema) {
  const Json* part = &schema;
  while (part->is_object() && part->contains("$ref")) part = find_reference(root, (*part)["$ref"].get<std::string>());
  return *part;
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "number") return value.is_number();
  if (!value.is_number_float()) return value.is_number_integer();
  return std::trunc(value.get<double>()) == value.get<double>();
}

std::vector<std::string> types_of(const Json& schema) {
  if (!schema.is_object() || !schema.contains("type")) return {};
  const Json& type = schema["type"];
  return type.is_string() ? std::vector{type.get<std::string>()} : type.get<std::vector<std::string>>();
}

std::string describe_schema(const Json& root, const Json& schema) {
  const Json& part = dereference(root, schema);
  if (!part.is_object()) return part == true ? "anything" : "absent";
  if (part.contains("const")) return excerpt(part["const"], 40);
  if (part.contains("enum")) return describe_values(part["enum"]);
  std::vector<std::string> forms;
  for (const std::string& type : types_of(part)) add_unique(forms, describe_type(root, part, type));
  if (forms.empty()) {
    for (const char* keyword : {"oneOf", "anyOf"}) {
      if (!part.contains(keyword)) continue;
      for (const Json& branch : part[keyword]) add_unique(forms, describe_schema(root, branch));
    }
  }
  return forms.empty() ? "another value" : fmt::format("{}", fmt::join(forms, " or "));
}

}  // namespace medgen
