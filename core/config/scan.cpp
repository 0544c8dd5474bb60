// SPDX-License-Identifier: Apache-2.0
#include "core/config/scan.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace medgen {
namespace {

using Kind = JsonToken::Kind;

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::string_view kSymbols = "{}[],:";
constexpr std::size_t kNone = std::string_view::npos;

/// The first byte from `from` on that is neither white space nor comment; the start of a comment that does not end.
std::size_t skip_space(std::string_view text, std::size_t from) {
  while (true) {
    from = std::min(text.find_first_not_of(kSpace, from), text.size());
    if (text.substr(from, 2) == "//") {
      from = std::min(text.find_first_of("\r\n", from), text.size());
    } else if (text.substr(from, 2) == "/*") {
      const std::size_t close = text.find("*/", from + 2);
      if (close == kNone) return from;
      from = close + 2;
    } else {
      return from;
    }
  }
}

/// The byte after the closing quote, or nothing when the string does not end on its line.
std::optional<std::size_t> end_of_string(std::string_view text, std::size_t open) {
  for (std::size_t i = open + 1; i < text.size() && text[i] != '\n'; ++i) {
    if (text[i] == '"') return i + 1;
    if (text[i] == '\\') ++i;
  }
  return std::nullopt;
}

bool is_symbol(std::string_view text, const JsonToken& token, char symbol) {
  return token.kind == Kind::Symbol && text[token.begin] == symbol;
}

/// The byte after the value that starts with `token`.
std::size_t skip_value(std::string_view text, JsonToken token) {
  for (int depth = 0; token.kind != Kind::End; token = next_token(text, token.end)) {
    if (is_symbol(text, token, '{') || is_symbol(text, token, '[')) ++depth;
    if (is_symbol(text, token, '}') || is_symbol(text, token, ']')) --depth;
    if (depth <= 0) return token.end;
  }
  return token.end;
}

bool key_is(std::string_view raw, std::string_view key) {
  if (raw.find('\\') == kNone) return raw.substr(1, raw.size() - 2) == key;
  return nlohmann::json::parse(raw).get<std::string>() == key;
}

/// The member `key` of the object, or element number `key` of the array, that `open` starts.
std::optional<JsonPlace> find_child(std::string_view text, const JsonToken& open, std::string_view key) {
  const bool object = is_symbol(text, open, '{');
  if (!object && !is_symbol(text, open, '[')) return std::nullopt;
  JsonToken token = next_token(text, open.end);
  for (std::size_t index = 0; token.kind == Kind::String || token.kind == Kind::Word || token.kind == Kind::Symbol;
       ++index) {
    if (is_symbol(text, token, '}') || is_symbol(text, token, ']')) return std::nullopt;
    const JsonToken first = token;
    if (object) token = next_token(text, next_token(text, token.end).end);
    const bool found =
        object ? key_is(text.substr(first.begin, first.end - first.begin), key) : std::to_string(index) == key;
    if (found) return JsonPlace{first.begin, token.begin};
    token = next_token(text, skip_value(text, token));
    if (is_symbol(text, token, ',')) token = next_token(text, token.end);
  }
  return std::nullopt;
}

std::string unescape_pointer(std::string_view step) {
  std::string key;
  for (std::size_t i = 0; i < step.size(); ++i) {
    const bool escape = step[i] == '~' && i + 1 < step.size();
    key += escape ? (step[++i] == '1' ? '/' : '~') : step[i];
  }
  return key;
}

}  // namespace

JsonToken next_token(std::string_view text, std::size_t from) {
  const std::size_t begin = skip_space(text, from);
  if (begin == text.size()) return {Kind::End, begin, begin};
  if (kSymbols.find(text[begin]) != kNone) return {Kind::Symbol, begin, begin + 1};
  if (text.substr(begin, 2) == "/*") return {Kind::Open, begin, text.size()};
  if (text[begin] == '"') {
    const auto end = end_of_string(text, begin);
    return {end ? Kind::String : Kind::Open, begin, end.value_or(text.size())};
  }
  const std::size_t end = text.find_first_of(" \t\r\n{}[],:\"/", begin + 1);
  return {Kind::Word, begin, std::min(end, text.size())};
}

JsonPlace locate(std::string_view text, std::string_view pointer) {
  JsonToken token = next_token(text, 0);
  JsonPlace place{token.begin, token.begin};
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::string_view step = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(step.size());
    const auto child = find_child(text, token, unescape_pointer(step));
    if (!child) break;
    place = *child;
    token = next_token(text, place.value);
  }
  return place;
}

std::string place_name(std::string_view name, std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::string_view row = before.substr(before.rfind('\n') + 1);
  // Bytes 10xxxxxx continue a character.
  const auto column = std::count_if(row.begin(), row.end(), [](char c) { return (c & 0xC0) != 0x80; }) + 1;
  return fmt::format("{}:{}:{}", name, line, column);
}

std::string escape_pointer(std::string_view key) {
  std::string step;
  for (const char c : key) step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return step;
}

}  // namespace medgen
