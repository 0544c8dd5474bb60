// SPDX-License-Identifier: Apache-2.0
#include "core/config/schema.h"

#include "core/config/parse.h"
#include "core/config/schema_state.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

std::string text_of(const SchemaProblem& problem) {
  const ConfigNode& node = problem.node;
  return fmt::format("{}: {} {}", problem.at_key ? node.where_key() : node.where(),
                     node.path().empty() ? "the document" : node.path(), problem.message);
}

/// Fills in what is missing. Values are valid, so `properties` meets objects and `items` arrays.
class DefaultFiller {
 public:
  explicit DefaultFiller(const Schema::State& state) : state_(state) {}

  void fill(Json& value, const Json& schema) {
    if (!schema.is_object()) return;
    if (++depth_ > kMaxConfigDepth) throw ConfigError("{}: its defaults nest without end", state_.node.name());
    if (const auto ref = schema.find("$ref"); ref != schema.end()) fill(value, dereference(state_.root(), schema));
    fill_combined(value, schema);
    if (value.is_object()) fill_object(value, schema);
    if (value.is_array()) fill_array(value, schema);
    --depth_;
  }

 private:
  void fill_combined(Json& value, const Json& schema) {
    for (const Json& part : schema.value("allOf", Json::array())) fill(value, part);
    for (const char* keyword : {"oneOf", "anyOf"}) {
      if (!schema.contains(keyword)) continue;
      const ConfigNode node = ConfigNode::make(value, "");
      const Json& branches = schema[keyword];
      const auto fits = [&](const Json& branch) { return find_problems(state_, branch, node).empty(); };
      if (const auto branch = std::find_if(branches.begin(), branches.end(), fits); branch != branches.end()) {
        fill(value, *branch);
      }
    }
  }

  void fill_object(Json& value, const Json& schema) {
    const auto properties = schema.find("properties");
    if (properties != schema.end()) {
      for (const auto& [key, property] : properties->items()) {
        const Json* preset = default_of(property);
        if (preset != nullptr && !value.contains(key)) value[key] = *preset;
        if (value.contains(key)) fill(value[key], property);
      }
    }
    const auto others = schema.find("additionalProperties");
    if (others == schema.end()) return;
    for (const auto& [key, member] : value.items()) {
      if (properties == schema.end() || !properties->contains(key)) fill(member, *others);
    }
  }

  void fill_array(Json& value, const Json& schema) {
    const auto prefix = schema.find("prefixItems");
    const auto items = schema.find("items");
    const std::size_t fixed = prefix == schema.end() ? 0 : prefix->size();
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i < fixed) fill(value[i], (*prefix)[i]);
      if (i >= fixed && items != schema.end()) fill(value[i], *items);
    }
  }

  const Json* default_of(const Json& schema) const {
    const Json* part = &schema;
    while (part->is_object() && !part->contains("default") && part->contains("$ref")) {
      part = find_reference(state_.root(), (*part)["$ref"].get<std::string>());
    }
    return part->is_object() && part->contains("default") ? &(*part)["default"] : nullptr;
  }

  const Schema::State& state_;
  std::size_t depth_ = 0;
};

}  // namespace

Schema::Schema(const ConfigNode& schema) {
  std::map<std::string, std::regex> patterns;
  check_schema(schema, patterns);
  state_ = std::make_shared<const State>(State{schema, std::move(patterns)});
  check_defaults(*state_);
}

Schema Schema::parse(std::string text, std::string name) {
  return Schema(parse_config(std::move(text), std::move(name)));
}

const Json& Schema::json() const noexcept {
  return state_->root();
}

std::vector<std::string> Schema::problems(const ConfigNode& node) const {
  std::vector<std::string> texts;
  for (const SchemaProblem& problem : find_problems(*state_, state_->root(), node)) texts.push_back(text_of(problem));
  return texts;
}

void Schema::validate(const ConfigNode& node) const {
  const std::vector<std::string> texts = problems(node);
  if (texts.empty()) return;
  std::string more;
  for (std::size_t i = 1; i < texts.size(); ++i) more += "\n" + texts[i];
  if (texts.size() == kMaxProblems) more += "\n(and perhaps more: only the first problems are listed)";
  throw ConfigError("{}{}", texts[0], more);
}

ConfigNode Schema::fill_defaults(const ConfigNode& node) const {
  Json value = node.json();
  DefaultFiller(*state_).fill(value, state_->root());
  return node.with_value(std::move(value));
}

ConfigNode Schema::resolve(const ConfigNode& node) const {
  validate(node);
  return fill_defaults(node);
}

}  // namespace medgen
