// SPDX-License-Identifier: Apache-2.0
#include "core/config/override.h"

#include "core/base/text.h"
#include "core/config/parse.h"
#include "core/config/scan.h"
#include "core/config/source.h"
#include "core/config/utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <optional>

namespace medgen {
namespace {

/// A key of an object, or an index of an array.
struct Step {
  std::string key;
  std::optional<std::size_t> index;
};

struct Setting {
  std::string path;  ///< as the user wrote it
  std::vector<Step> steps;
  Json value;
};

/// Reads `PATH=VALUE`.
class SettingParser {
 public:
  explicit SettingParser(const std::string& text) : text_(text) {}

  Setting parse() {
    Setting setting;
    while (at_ < text_.size() && text_[at_] != '=') setting.steps.push_back(step(setting.steps.empty()));
    if (at_ == text_.size()) fail("write PATH=VALUE, for example --set runtime.threads=4");
    if (setting.steps.empty()) fail("the path before = is empty");
    setting.path = text_.substr(0, at_);
    setting.value = value(text_.substr(at_ + 1));
    return setting;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw UsageError("--set {}: {}", clip(text_, 80), message);
  }

  Step step(bool first) {
    if (text_[at_] == '[') return bracket();
    if (!first && text_[at_++] != '.') fail(fmt::format("a dot is missing at character {}", at_));
    const std::size_t end = std::min(text_.find_first_of(".[=", at_), text_.size());
    if (end == at_) fail(fmt::format("a key is missing at character {}", at_ + 1));
    Step step{text_.substr(at_, end - at_), std::nullopt};
    at_ = end;
    return step;
  }

  /// [0] or ["any key"]
  Step bracket() {
    const std::size_t begin = at_ + 1;
    const JsonToken token = next_token(text_, begin);
    if (token.kind == JsonToken::Kind::End || token.end >= text_.size() || text_[token.end] != ']') {
      fail(fmt::format("[ at character {} needs an index or a quoted key, and ]", begin));
    }
    const std::string inner = text_.substr(token.begin, token.end - token.begin);
    at_ = token.end + 1;
    if (inner.front() == '"') {
      const Json key = Json::parse(inner, nullptr, false);
      if (!key.is_string()) fail(fmt::format("{} is no JSON string", inner));
      return {key.get<std::string>(), std::nullopt};
    }
    std::size_t index = 0;
    const auto [stop, error] = std::from_chars(inner.data(), inner.data() + inner.size(), index);
    if (error != std::errc() || stop != inner.data() + inner.size()) fail(fmt::format("[{}] is no index", inner));
    return {inner, index};
  }

  Json value(const std::string& text) const {
    try {
      return parse_config(text, "value").json();
    } catch (const ConfigError&) {
      if (first_invalid_utf8(text)) fail("the value is not UTF-8");
      return text;
    }
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

/// Puts settings into a document.
class Editor {
 public:
  Editor(Json& root, std::span<const std::string> creatable) : root_(root), creatable_(creatable) {}

  /// @return the JSON pointer of what was set.
  std::string apply(const Setting& setting) {
    Json* place = &root_;
    std::string pointer;
    for (std::size_t i = 0; i < setting.steps.size(); ++i) {
      const bool last = i + 1 == setting.steps.size();
      place = &descend(*place, setting, i, last);
      pointer += '/' + escape_pointer(setting.steps[i].key);
    }
    *place = setting.value;
    return pointer;
  }

 private:
  Json& descend(Json& parent, const Setting& setting, std::size_t depth, bool last) const {
    const Step& step = setting.steps[depth];
    const auto fail = [&](const std::string& message) {
      throw ConfigError("--set {}: {} {}", setting.path, depth == 0 ? "the document" : prefix(setting, depth), message);
    };
    if (step.index) {
      if (!parent.is_array()) fail(fmt::format("is no array, [{}] does not exist", *step.index));
      if (*step.index >= parent.size())
        fail(fmt::format("has {} elements, [{}] does not exist", parent.size(), *step.index));
      return parent[*step.index];
    }
    if (!parent.is_object()) fail(fmt::format("is {}, it has no key \"{}\"", kind_of(parent), step.key));
    const bool create =
        last || (depth == 0 && std::find(creatable_.begin(), creatable_.end(), step.key) != creatable_.end());
    if (!create && !parent.contains(step.key)) {
      std::vector<std::string> keys;
      for (const auto& member : parent.items()) keys.push_back(member.key());
      fail(fmt::format("has no key \"{}\"{}", step.key, did_you_mean(step.key, keys)));
    }
    if (create && !last && !parent.contains(step.key)) parent[step.key] = Json::object();
    return parent[step.key];
  }

  static std::string prefix(const Setting& setting, std::size_t depth) {
    std::string path;
    for (std::size_t i = 0; i < depth; ++i) {
      const Step& step = setting.steps[i];
      path += step.index ? fmt::format("[{}]", step.key) : (i > 0 ? "." : "") + step.key;
    }
    return path;
  }

  Json& root_;
  std::span<const std::string> creatable_;
};

}  // namespace

ConfigNode apply_overrides(const ConfigNode& document, std::span<const std::string> settings,
                           std::span<const std::string> creatable) {
  check(document.pointer().empty(), "overrides are applied to a whole document");
  Json root = document.json();
  ConfigSource source = *document.source_;
  Editor editor(root, creatable);
  for (const std::string& text : settings) {
    const Setting setting = SettingParser(text).parse();
    source.overrides.push_back({editor.apply(setting), setting.path});
  }
  return {std::make_shared<const ConfigSource>(std::move(source)), std::make_shared<const Json>(std::move(root))};
}

}  // namespace medgen
