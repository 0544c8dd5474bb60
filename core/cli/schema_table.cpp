// SPDX-License-Identifier: Apache-2.0
#include "core/cli/schema_table.h"

#include "core/cli/console.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr int kMaxDepth = 6;  // schemas may refer to themselves

class SchemaRows {
 public:
  explicit SchemaRows(const Json& root) : root_(root) {}

  Rows rows;

  void add_form(const Json& schema) { add_properties(resolve(schema), "", 0); }

  void add_properties(const Json& schema, const std::string& prefix, int depth) {
    if (!schema.is_object() || !schema.contains("properties") || depth > kMaxDepth) return;
    for (const auto& [key, property] : schema.at("properties").items()) {
      add(prefix + key, resolve(property), required(schema, key), depth);
    }
  }

 private:
  /// What "$ref": "#/$defs/NAME" stands for; a schema without one is itself.
  const Json& resolve(const Json& schema) const {
    constexpr std::string_view kDefs = "#/$defs/";
    if (!schema.is_object() || !schema.contains("$ref") || !root_.contains("$defs")) return schema;
    const auto reference = schema.at("$ref").get<std::string>();
    if (!reference.starts_with(kDefs)) return schema;
    const auto found = root_.at("$defs").find(reference.substr(kDefs.size()));
    return found == root_.at("$defs").end() ? schema : *found;
  }

  static bool required(const Json& schema, const std::string& key) {
    const auto list = schema.find("required");
    return list != schema.end() && std::find(list->begin(), list->end(), key) != list->end();
  }

  static std::string join(const Json& values, const char* separator) {
    std::string text;
    for (const Json& value : values) {
      text += (text.empty() ? "" : separator) + (value.is_string() ? value.get<std::string>() : value.dump());
    }
    return text;
  }

  std::string type(const Json& schema) const {
    if (!schema.is_object()) return "any";
    if (schema.contains("enum")) return join(schema.at("enum"), " | ");
    if (schema.contains("const")) return schema.at("const").dump();
    if (!schema.contains("type")) return "any";
    if (schema.at("type").is_array()) return join(schema.at("type"), " | ");
    const auto name = schema.at("type").get<std::string>();
    if (name != "array" || !schema.contains("items")) return name + range(schema);
    return "array of " + type(resolve(schema.at("items")));
  }

  static std::string range(const Json& schema) {
    std::string text;
    for (const auto& [key, sign] :
         {std::pair{"minimum", ">="}, {"exclusiveMinimum", ">"}, {"maximum", "<="}, {"exclusiveMaximum", "<"}}) {
      if (schema.contains(key)) text += fmt::format(" {} {}", sign, schema.at(key).dump());
    }
    return text;
  }

  void add(const std::string& name, const Json& schema, bool is_required, int depth) {
    const bool object = schema.is_object();
    std::string value = object && schema.contains("default") ? schema.at("default").dump()
                        : is_required                        ? "(required)"
                                                             : "-";
    const std::string about = object ? schema.value("description", schema.value("title", "")) : "";
    rows.push_back({name, type(schema), std::move(value), about});
    if (!object) return;
    add_properties(schema, name + '.', depth + 1);
    if (schema.contains("items")) add_properties(resolve(schema.at("items")), name + "[].", depth + 1);
  }

  const Json& root_;
};

std::string form_table(const Json& root, const Json& form, std::string_view indent) {
  SchemaRows rows(root);
  rows.rows.push_back({"KEY", "TYPE", "DEFAULT", ""});
  rows.add_form(form);
  return rows.rows.size() == 1 ? "" : table(rows.rows, indent);
}

}  // namespace

std::string schema_table(const Json& schema, std::string_view indent) {
  if (!schema.is_object() || !schema.contains("oneOf")) return form_table(schema, schema, indent);
  std::string text;
  for (const Json& form : schema.at("oneOf")) {
    if (!text.empty()) text += fmt::format("{}or\n", indent);
    text += form_table(schema, form, indent);
  }
  return text;
}

}  // namespace medgen::cli
