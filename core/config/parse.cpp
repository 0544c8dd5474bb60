// SPDX-License-Identifier: Apache-2.0
#include "core/config/parse.h"

#include "core/base/file.h"
#include "core/config/scan.h"
#include "core/config/source.h"
#include "core/config/utf8.h"

#include <nlohmann/json.hpp>

#include <set>

namespace medgen {
namespace {

using Kind = JsonToken::Kind;

/// The library's message without its preamble: "[json.exception...] parse error at line 1, column 2: syntax error while
/// parsing value - invalid string: ...; last read: ..." becomes "invalid string: ...".
std::string reason_of(const Json::exception& error) {
  std::string text = error.what();
  if (const auto dash = text.find(" - "); dash != std::string::npos) text.erase(0, dash + 3);
  if (const auto last = text.find("; last read"); last != std::string::npos) text.erase(last);
  return text;
}

/// Refuses text that is not JSON as medgen reads it, in words for people who write it by hand. The library then builds
/// the values; it would report most of this as "unexpected token", and the rest not at all.
class SyntaxCheck {
 public:
  SyntaxCheck(const std::string& text, const std::string& name) : text_(text), name_(name) {}

  void run() {
    check_characters();
    advance();
    if (token_.kind == Kind::End) fail(0, "the document is empty");
    value();
    if (token_.kind != Kind::End) fail(token_.begin, "{} after the end of the document", found());
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(std::size_t offset, fmt::format_string<Args...> format, Args&&... args) const {
    throw ConfigError("{}: {}", place_name(name_, text_, offset), fmt::format(format, std::forward<Args>(args)...));
  }

  void check_characters() const {
    if (const auto bad = first_invalid_utf8(text_)) fail(*bad, "this byte is not UTF-8; save the file as UTF-8");
    if (const auto zero = text_.find('\0'); zero != std::string::npos)
      fail(zero, "a zero byte: this is not a text file");
  }

  void advance() {
    token_ = next_token(text_, token_.end);
    if (token_.kind != Kind::Open) return;
    fail(token_.begin, "{}",
         text_[token_.begin] == '"' ? "a string that does not end on its line: close it with \""
                                    : "a comment that does not end: close it with */");
  }

  std::string_view word() const { return std::string_view(text_).substr(token_.begin, token_.end - token_.begin); }

  bool at(char symbol) const { return token_.kind == Kind::Symbol && text_[token_.begin] == symbol; }

  std::string found() const {
    return token_.kind == Kind::End ? std::string("the text ends") : fmt::format("unexpected {}", clip(word(), 40));
  }

  void value() {
    if (at('{')) return object();
    if (at('[')) return array();
    if (token_.kind == Kind::Word) check_word();
    if (token_.kind == Kind::String) decode();
    if (token_.kind == Kind::Symbol || token_.kind == Kind::End)
      fail(token_.begin, "a value is missing here, {}", found());
    advance();
  }

  void object() {
    const std::size_t open = enter();
    std::set<std::string> keys;
    while (!at('}')) {
      if (keys.size() == kMaxConfigMembers) fail(token_.begin, "more than {} keys in one object", kMaxConfigMembers);
      if (token_.kind == Kind::Word) fail(token_.begin, "{}: keys stand in double quotes", found());
      if (token_.kind != Kind::String) fail_inside(open, "a key in double quotes, or }");
      const std::string key = decode();
      if (!keys.insert(key).second) fail(token_.begin, "the key {} stands twice in this object", clip(word(), 60));
      advance();
      if (!at(':')) fail(token_.begin, "a colon is missing after the key \"{}\", {}", key, found());
      advance();
      value();
      separator(open, '}');
    }
    leave();
  }

  void array() {
    const std::size_t open = enter();
    while (!at(']')) {
      value();
      separator(open, ']');
    }
    leave();
  }

  /// After a value: a comma and another value, or the end.
  void separator(std::size_t open, char close) {
    if (at(close)) return;
    if (!at(',')) fail_inside(open, fmt::format("a comma or {}", close));
    const std::size_t comma = token_.begin;
    advance();
    if (at(close)) fail(comma, "a comma before {}: remove it", close);
  }

  std::size_t enter() {
    if (++depth_ > kMaxConfigDepth) fail(token_.begin, "nested more than {} deep", kMaxConfigDepth);
    const std::size_t open = token_.begin;
    advance();
    return open;
  }

  void leave() {
    --depth_;
    advance();
  }

  [[noreturn]] void fail_inside(std::size_t open, const std::string& wanted) const {
    fail(token_.begin, "{} is missing here, {} (inside the {} of {})", wanted, found(), text_[open],
         place_name(name_, text_, open));
  }

  std::string decode() const {
    try {
      return Json::parse(word()).get<std::string>();
    } catch (const Json::parse_error& error) {
      fail(token_.begin + (error.byte > 0 ? error.byte - 1 : 0), "{}", reason_of(error));
    }
  }

  void check_word() const {
    const std::string_view text = word();
    if (text == "true" || text == "false" || text == "null") return;
    if (text[0] == '\'') fail(token_.begin, "{}: strings stand in double quotes", found());
    if (text == "True" || text == "False")
      fail(token_.begin, "{}: write {}", found(), text == "True" ? "true" : "false");
    if (text == "None") fail(token_.begin, "{}: write null", found());
    if (text == "NaN" || text == "Infinity" || text == "-Infinity") {
      fail(token_.begin, "{}: numbers must be finite", found());
    }
    try {
      const Json number = Json::parse(text);
      if (number.is_number_float() && text.find_first_of(".eE") == std::string_view::npos) {
        fail(token_.begin, "the integer {} does not fit 64 bits", clip(text, 40));
      }
    } catch (const Json::out_of_range&) {
      fail(token_.begin, "the number {} is too large", clip(text, 40));
    } catch (const Json::parse_error&) {
      fail(token_.begin, "{}: neither a number nor a string in double quotes", found());
    }
  }

  const std::string& text_;
  const std::string& name_;
  JsonToken token_{Kind::End, 0, 0};
  std::size_t depth_ = 0;
};

}  // namespace

ConfigNode parse_config(std::string text, std::string name, std::filesystem::path folder) {
  if (text.size() > kMaxConfigBytes) throw ConfigError("{}: larger than {} bytes", name, kMaxConfigBytes);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  SyntaxCheck(text, name).run();
  std::shared_ptr<const Json> value;
  try {
    value = std::make_shared<const Json>(Json::parse(text, nullptr, true, true));
  } catch (const Json::exception& error) {
    throw ConfigError("{}: {}", name, reason_of(error));
  }
  // A path that was resolved once may be resolved again: the folder of "@step".
  if (!folder.empty()) folder = std::filesystem::absolute(folder);
  ConfigSource source{std::move(name), std::move(folder), std::move(text), {}};
  return {std::make_shared<const ConfigSource>(std::move(source)), std::move(value)};
}

ConfigNode read_config(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_file(file, kMaxConfigBytes);
  } catch (const DataError& error) {
    throw ConfigError("{}", error.what());
  }
  return parse_config(std::move(text), file.string(), file.parent_path());
}

}  // namespace medgen
