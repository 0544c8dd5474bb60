// SPDX-License-Identifier: Apache-2.0
#include "core/config/paths.h"

#include <glob.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <set>
#include <string>

namespace medgen {
namespace fs = std::filesystem;

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr Unit kUnits[] = {{"", 1},
                           {"b", 1},
                           {"kb", 1'000},
                           {"mb", 1'000'000},
                           {"gb", 1'000'000'000},
                           {"tb", 1'000'000'000'000},
                           {"kib", 1ull << 10},
                           {"mib", 1ull << 20},
                           {"gib", 1ull << 30},
                           {"tib", 1ull << 40}};

std::optional<std::uint64_t> unit_bytes(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto* unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& u) { return u.name == name; });
  if (unit == std::end(kUnits)) return std::nullopt;
  return unit->bytes;
}

/// Text that glob takes literally.
std::string escape_glob(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string_view("*?[\\").find(c) != std::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::vector<std::string> glob_sorted(const std::string& pattern) {
  glob_t found{};
  const std::unique_ptr<glob_t, decltype(&globfree)> release(&found, &globfree);
  // Sorted here: glob would sort by the locale.
  if (glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found) == GLOB_NOSPACE) throw std::bad_alloc();
  std::vector<std::string> names(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> expand_pattern(const ConfigNode& node) {
  const fs::path literal = resolve_path(node);
  std::error_code ignored;
  if (fs::exists(literal, ignored)) return {literal.string()};
  const auto text = node.as<std::string>();
  const bool absolute = fs::path(text).is_absolute() || node.folder().empty();
  const std::string pattern = absolute ? text : escape_glob(node.folder().string()) + '/' + text;
  auto names = glob_sorted(pattern);
  if (names.empty()) node.fail("matches no file: {}", fs::absolute(literal).lexically_normal().string());
  return names;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  const auto digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto unit = unit_bytes(text.substr(digits));
  const char* end = text.data() + digits;
  if (digits == 0 || !unit) return std::nullopt;
  std::uint64_t whole = 0;
  if (const auto [stop, error] = std::from_chars(text.data(), end, whole); stop == end && error == std::errc()) {
    if (whole > std::numeric_limits<std::uint64_t>::max() / *unit) return std::nullopt;
    return whole * *unit;
  }
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  const double bytes = std::floor(number * static_cast<double>(*unit));
  if (stop != end || error != std::errc() || !(bytes < 18446744073709551616.0)) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

fs::path resolve_path(const ConfigNode& node) {
  const auto text = node.as<std::string>();
  if (text.empty()) node.fail("must be a path, got an empty string");
  if (text.find('\0') != std::string::npos) node.fail("must be a path, got one with a zero byte");
  return node.folder() / text;
}

std::vector<fs::path> expand_paths(const ConfigNode& node) {
  if (!node.is_string() && !node.is_array())
    node.fail("must be a path or an array of paths, got {}", excerpt(node.json()));
  const std::vector<ConfigNode> patterns = node.is_array() ? node.items() : std::vector{node};
  if (patterns.empty()) node.fail("must name at least one file, got an empty array");
  std::vector<fs::path> paths;
  std::set<std::string> seen;
  for (const ConfigNode& pattern : patterns) {
    for (const std::string& name : expand_pattern(pattern)) {
      if (seen.insert(name).second) paths.emplace_back(name);
    }
  }
  return paths;
}

}  // namespace medgen
