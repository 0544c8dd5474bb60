// SPDX-License-Identifier: Apache-2.0
#include "core/view/html.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

namespace medgen::html {
namespace {

constexpr std::string_view kUnknown = "\xEF\xBF\xBD";  // U+FFFD

/// Bytes of the UTF-8 character that text begins with; 0 when it begins with none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80         ? 1
                             : first >> 5 == 0x6  ? 2
                             : first >> 4 == 0xE  ? 3
                             : first >> 3 == 0x1E ? 4
                                                  : 0;
  if (length == 0 || length > text.size()) return 0;
  std::uint32_t code = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 0x2) return 0;
    code = code << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::array<std::uint32_t, 5> kFirstOfLength = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  return code < kFirstOfLength[length] || surrogate || code > 0x10FFFF ? 0 : length;
}

std::string_view escape_of(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

bool is_forbidden(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view escape = escape_of(text[0]);
    if (length == 0 || is_forbidden(text[0])) {
      result += kUnknown;
    } else {
      result += escape.empty() ? text.substr(0, length) : escape;
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

std::string png_uri(std::string_view png) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string uri = "data:image/png;base64,";
  uri.reserve(uri.size() + (png.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < png.size(); i += 3) {
    const std::size_t bytes = std::min<std::size_t>(3, png.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < bytes ? static_cast<unsigned char>(png[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) uri += k <= bytes ? kDigits[group >> (18 - 6 * k) & 0x3F] : '=';
  }
  return uri;
}

std::string filled(std::string_view page, const std::map<std::string, std::string>& values) {
  std::string result;
  for (std::size_t open = page.find("{{"); open != std::string_view::npos; open = page.find("{{")) {
    const std::size_t close = page.find("}}", open);
    result += page.substr(0, open);
    const auto value = values.find(std::string(page.substr(open + 2, close - open - 2)));
    if (value != values.end()) result += value->second;
    page.remove_prefix(close + 2);
  }
  return result += page;
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& entries) {
  if (entries.empty()) return "";
  std::string text = "<dl class=\"facts\">\n";
  for (const auto& [name, value] : entries)
    text += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", escaped(name), escaped(value));
  return text + "</dl>\n";
}

}  // namespace medgen::html
