// SPDX-License-Identifier: Apache-2.0
#include "core/config/node.h"

#include "core/base/text.h"
#include "core/config/paths.h"
#include "core/config/scan.h"
#include "core/config/source.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

/// Keys that `--set` can take bare.
bool is_plain(std::string_view key) {
  return !key.empty() && std::none_of(key.begin(), key.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || std::string_view(".[]=\"").find(c) != std::string_view::npos;
  });
}

std::string member_path(const std::string& parent, std::string_view key) {
  if (!is_plain(key)) return fmt::format("{}[{}]", parent, excerpt(Json(key)));
  return parent.empty() ? std::string(key) : fmt::format("{}.{}", parent, key);
}

/// `pointer` is `ancestor` or below it.
bool is_within(std::string_view pointer, std::string_view ancestor) {
  return pointer.starts_with(ancestor) && (pointer.size() == ancestor.size() || pointer[ancestor.size()] == '/');
}

/// The setting of the command line that gave the value, or null.
const ConfigSource::Override* override_of(const ConfigSource& source, const std::string& pointer) {
  const auto set = std::find_if(source.overrides.rbegin(), source.overrides.rend(),
                                [&](const ConfigSource::Override& each) { return is_within(pointer, each.pointer); });
  return set == source.overrides.rend() ? nullptr : &*set;
}

std::string place(const ConfigSource& source, const std::string& pointer, std::size_t JsonPlace::*offset) {
  if (const ConfigSource::Override* set = override_of(source, pointer)) return "--set " + set->path;
  if (source.text.empty()) return source.name;
  return place_name(source.name, source.text, locate(source.text, pointer).*offset);
}

/// The integer that a whole float stands for: 3.0 is 3.
Json as_integer(const Json& value) {
  constexpr double kTwo63 = 9223372036854775808.0;
  if (!value.is_number_float()) return value;
  const double number = value.get<double>();
  if (std::trunc(number) != number || std::abs(number) >= kTwo63) return value;
  return static_cast<std::int64_t>(number);
}

}  // namespace

ConfigNode::ConfigNode(std::shared_ptr<const ConfigSource> source, std::shared_ptr<const Json> value)
    : source_(std::move(source)), value_(std::move(value)) {}

ConfigNode ConfigNode::make(Json value, std::string name, std::filesystem::path folder) {
  return {std::make_shared<const ConfigSource>(ConfigSource{std::move(name), std::move(folder), {}, {}}),
          std::make_shared<const Json>(std::move(value))};
}

ConfigNode ConfigNode::with_value(Json value) const {
  ConfigNode node = *this;
  node.value_ = std::make_shared<const Json>(std::move(value));
  return node;
}

std::string ConfigNode::where() const {
  return place(*source_, pointer_, &JsonPlace::value);
}

std::string ConfigNode::where_key() const {
  return place(*source_, pointer_, &JsonPlace::key);
}

const std::string& ConfigNode::name() const noexcept {
  return source_->name;
}

std::filesystem::path ConfigNode::folder() const {
  return override_of(*source_, pointer_) == nullptr ? source_->folder : std::filesystem::current_path();
}

bool ConfigNode::is_object() const noexcept {
  return value_->is_object();
}

bool ConfigNode::is_array() const noexcept {
  return value_->is_array();
}

bool ConfigNode::is_string() const noexcept {
  return value_->is_string();
}

bool ConfigNode::is_number() const noexcept {
  return value_->is_number();
}

ConfigNode ConfigNode::child(const Json& value, std::string_view key, std::string path) const {
  ConfigNode node = *this;
  node.value_ = std::shared_ptr<const Json>(value_, &value);
  node.pointer_ += '/' + escape_pointer(key);
  node.path_ = std::move(path);
  return node;
}

std::vector<ConfigNode> ConfigNode::items() const {
  if (!is_array()) fail_type("an array");
  std::vector<ConfigNode> nodes;
  for (std::size_t i = 0; i < value_->size(); ++i) nodes.push_back(at(i));
  return nodes;
}

std::vector<ConfigNode::Member> ConfigNode::members() const {
  if (!is_object()) fail_type("an object");
  std::vector<Member> nodes;
  for (const auto& [key, value] : value_->items()) nodes.emplace_back(key, child(value, key, member_path(path_, key)));
  return nodes;
}

bool ConfigNode::contains(std::string_view key) const {
  return value_->contains(key);
}

ConfigNode ConfigNode::at(std::string_view key) const {
  if (!is_object()) fail_type("an object");
  if (const auto found = value_->find(key); found != value_->end()) return child(*found, key, member_path(path_, key));
  std::vector<std::string> keys;
  for (const auto& member : value_->items()) keys.push_back(member.key());
  fail("needs the key \"{}\"{}", key, did_you_mean(key, keys));
}

ConfigNode ConfigNode::at(std::size_t index) const {
  if (!is_array()) fail_type("an array");
  if (index >= value_->size()) fail("has {} elements, [{}] does not exist", value_->size(), index);
  return child((*value_)[index], std::to_string(index), fmt::format("{}[{}]", path_, index));
}

void ConfigNode::fail_with(const std::string& message) const {
  throw ConfigError("{}: {} {}", where(), path_.empty() ? "the document" : path_, message);
}

void ConfigNode::fail_type(std::string_view wanted) const {
  fail("must be {}, got {}", wanted, excerpt(*value_));
}

bool ConfigNode::as_bool() const {
  if (!value_->is_boolean()) fail_type("true or false");
  return value_->get<bool>();
}

std::int64_t ConfigNode::as_signed(std::int64_t low, std::int64_t high) const {
  const Json value = as_integer(*value_);
  if (!value.is_number_integer()) fail_type("an integer");
  const bool overflow = value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX;
  const auto number = value.get<std::int64_t>();
  if (overflow || number < low || number > high) fail_type(fmt::format("an integer from {} to {}", low, high));
  return number;
}

std::uint64_t ConfigNode::as_unsigned(std::uint64_t high) const {
  const Json value = as_integer(*value_);
  if (!value.is_number_integer()) fail_type("an integer");
  const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
  const auto number = value.get<std::uint64_t>();
  if (negative || number > high) fail_type(fmt::format("an integer from 0 to {}", high));
  return number;
}

double ConfigNode::as_double() const {
  if (!value_->is_number()) fail_type("a number");
  return value_->get<double>();
}

const std::string& ConfigNode::as_string() const {
  if (!value_->is_string()) fail_type("a string");
  return value_->get_ref<const std::string&>();
}

std::uint64_t ConfigNode::as_bytes() const {
  if (is_number()) return as_unsigned(UINT64_MAX);
  const auto bytes = is_string() ? parse_bytes(as_string()) : std::nullopt;
  if (!bytes) fail_type("a number of bytes or a size such as \"4GiB\"");
  return *bytes;
}

}  // namespace medgen
