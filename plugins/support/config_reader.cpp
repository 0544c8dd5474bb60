// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/config_reader.h"

#include "plugins/support/error.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace medgen::support {
namespace {

constexpr size_t kLongestList = 64;

/// The value as text, short enough for a message.
std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

ConfigReader::ConfigReader(const nlohmann::json& object, std::string what) : object_(object), what_(std::move(what)) {
  require(object.is_object(), "{}: the config is {}, an object is wanted", what_, shown(object));
}

bool ConfigReader::has(const std::string& key) const {
  return object_.contains(key);
}

void ConfigReader::accept(const std::string& key) {
  known_.insert(key);
}

void ConfigReader::need(const std::string& key) const {
  require(has(key), "{}: '{}' is missing; add it to the config", what_, key);
}

const nlohmann::json* ConfigReader::find(const std::string& key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

int64_t ConfigReader::integer(const nlohmann::json& value, const std::string& key, int64_t low, int64_t high) const {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) &&
                    value.get<int64_t>() >= low && value.get<int64_t>() <= high;
  require(fits, "{}: '{}' is {}, an integer from {} to {} is wanted", what_, key, shown(value), low, high);
  return value.get<int64_t>();
}

void ConfigReader::read(const std::string& key, bool& value) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  require(json->is_boolean(), "{}: '{}' is {}, true or false is wanted", what_, key, shown(*json));
  value = json->get<bool>();
}

void ConfigReader::read(const std::string& key, double& value) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  require(json->is_number() && std::isfinite(json->get<double>()), "{}: '{}' is {}, a finite number is wanted", what_,
          key, shown(*json));
  value = json->get<double>();
}

void ConfigReader::read(const std::string& key, std::string& value) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  require(json->is_string(), "{}: '{}' is {}, a string is wanted", what_, key, shown(*json));
  value = json->get<std::string>();
}

void ConfigReader::read(const std::string& key, int64_t& value, int64_t low, int64_t high) {
  const nlohmann::json* json = find(key);
  if (json != nullptr) value = integer(*json, key, low, high);
}

void ConfigReader::read(const std::string& key, std::optional<int64_t>& value, int64_t low, int64_t high) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  value = json->is_null() ? std::nullopt : std::optional(integer(*json, key, low, high));
}

void ConfigReader::read(const std::string& key, std::vector<int64_t>& values, int64_t low, int64_t high) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  require(json->is_array() && !json->empty() && json->size() <= kLongestList,
          "{}: '{}' is {}, a list of 1 to {} integers is wanted", what_, key, shown(*json), kLongestList);
  values.clear();
  for (const nlohmann::json& item : *json) values.push_back(integer(item, key, low, high));
}

void ConfigReader::read(const std::string& key, std::vector<bool>& values) {
  const nlohmann::json* json = find(key);
  if (json == nullptr) return;
  require(json->is_array() && !json->empty() && json->size() <= kLongestList,
          "{}: '{}' is {}, a list of true and false is wanted", what_, key, shown(*json));
  values.clear();
  for (const nlohmann::json& item : *json) {
    require(item.is_boolean(), "{}: '{}' is {}, a list of true and false is wanted", what_, key, shown(*json));
    values.push_back(item.get<bool>());
  }
}

void ConfigReader::read_per_level(const std::string& key, std::vector<int64_t>& values, size_t count, int64_t low,
                                  int64_t high) {
  const nlohmann::json* json = find(key);
  if (json != nullptr && json->is_number()) {
    values.assign(count, integer(*json, key, low, high));
  } else {
    read(key, values, low, high);
  }
  require(values.size() == count, "{}: '{}' has {} entries, one for each of the {} levels is wanted", what_, key,
          values.size(), count);
}

void ConfigReader::finish() const {
  for (const auto& [key, value] : object_.items()) {
    require(known_.count(key) > 0 || key.starts_with('_'), "{}: '{}' is not known; known are {}", what_, key,
            fmt::join(known_, ", "));
  }
}

}  // namespace medgen::support
