// SPDX-License-Identifier: Apache-2.0
#include "core/config/json.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/utf8.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

constexpr std::size_t kPrettyColumns = 100;

/// JSON cannot say NaN; the library would write null.
void check_finite(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw ConfigError("JSON cannot hold the number {}: numbers must be finite", value.get<double>());
  }
  if (value.is_structured()) {
    for (const Json& inner : value) check_finite(inner);
  }
}

template <typename AnyJson>
std::string dump_line(const AnyJson& value) {
  try {
    return value.dump();
  } catch (const nlohmann::json::type_error&) {
    throw ConfigError("JSON cannot hold text that is not UTF-8: {}",
                      clip(value.dump(-1, ' ', true, AnyJson::error_handler_t::replace), 80));
  }
}

/// On one line, with a space after commas and colons.
std::string spaced_line(const Json& value) {
  if (!value.is_structured() || value.empty()) return dump_line(value);
  std::string line;
  for (const auto& [key, inner] : value.items()) {
    if (!line.empty()) line += ", ";
    if (value.is_object()) line += dump_line(Json(key)) + ": ";
    line += spaced_line(inner);
  }
  return value.is_object() ? fmt::format("{{ {} }}", line) : fmt::format("[{}]", line);
}

/// Appends `value`, whose first line starts at `column` and whose following lines are indented by `indent`.
void write_pretty(const Json& value, std::size_t indent, std::size_t column, std::string& out) {
  const std::string line = spaced_line(value);
  const bool whole_document = column == 0;
  const bool breakable = value.is_structured() && !value.empty();
  if (!breakable || (!whole_document && column + line.size() < kPrettyColumns)) {
    out += line;
    return;
  }
  out += value.is_object() ? '{' : '[';
  const char* separator = "\n";
  for (const auto& [key, inner] : value.items()) {
    const std::string label = value.is_object() ? dump_line(Json(key)) + ": " : "";
    out += separator + std::string(indent + 2, ' ') + label;
    write_pretty(inner, indent + 2, indent + 2 + label.size(), out);
    separator = ",\n";
  }
  out += '\n' + std::string(indent, ' ') + (value.is_object() ? '}' : ']');
}

/// Sorted keys, and integers wherever a float is one.
nlohmann::json canonical(const Json& value) {
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (value.is_object()) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [key, inner] : value.items()) object[key] = canonical(inner);
    return object;
  }
  if (value.is_array()) {
    nlohmann::json array = nlohmann::json::array();
    for (const Json& inner : value) array.push_back(canonical(inner));
    return array;
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::trunc(number) == number && std::abs(number) <= kExactIntegers) return static_cast<std::int64_t>(number);
    return number;
  }
  if (value.is_number_unsigned()) return value.get<std::uint64_t>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>();
  return nullptr;
}

}  // namespace

std::string_view kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a number";
    default:
      return "null";
  }
}

std::string excerpt(const Json& value, std::size_t max_bytes) {
  return clip(value.dump(-1, ' ', false, Json::error_handler_t::replace), max_bytes);
}

std::string dump_pretty(const Json& value) {
  check_finite(value);
  std::string out;
  write_pretty(value, 0, 0, out);
  return out + '\n';
}

std::string dump_compact(const Json& value) {
  check_finite(value);
  return dump_line(value);
}

std::string dump_canonical(const Json& value) {
  check_finite(value);
  return dump_line(canonical(value));
}

std::string content_hash(const Json& value) {
  return sha256(dump_canonical(value));
}

std::string differences(const Json& was, const Json& is) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> texts;
  for (const Json& change : Json::diff(was, is)) {
    if (texts.size() == kShown) {
      texts.emplace_back("...");
      break;
    }
    const Json::json_pointer at(change.at("path").get<std::string>());
    std::string name = at.empty() ? "" : at.to_string().substr(1);
    std::replace(name.begin(), name.end(), '/', '.');
    texts.push_back(fmt::format("{} {}, {}", name, is.contains(at) ? "is " + excerpt(is[at]) : "is missing",
                                was.contains(at) ? "was " + excerpt(was[at]) : "was missing"));
  }
  return fmt::format("{}", fmt::join(texts, "; "));
}

bool same_content(const Json& a, const Json& b) {
  if (a.is_structured() && b.is_structured()) return dump_canonical(a) == dump_canonical(b);
  return a == b;
}

}  // namespace medgen
