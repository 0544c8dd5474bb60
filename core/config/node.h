// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/config/json.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace medgen {

struct ConfigSource;

/// A place in a configuration document: the value there, and where the user wrote it. Cheap to copy; it keeps its
/// document alive and never changes, so any thread may read it. Functions that refuse a value throw a ConfigError that
/// starts with `where()`: `pipeline.json:5:31: steps.ct.steps must be an integer, got "thirty"`.
class ConfigNode {
 public:
  using Member = std::pair<std::string, ConfigNode>;

  /// A document that no file holds; `name` stands for the file in messages, `folder` is where relative paths start.
  static ConfigNode make(Json value, std::string name, std::filesystem::path folder = {});

  const Json& json() const noexcept { return *value_; }

  /// RFC 6901: "/steps/ct/spacing_mm/0", "" for the document.
  const std::string& pointer() const noexcept { return pointer_; }

  /// As `--set` takes it: "steps.ct.spacing_mm[0]", "" for the document.
  const std::string& path() const noexcept { return path_; }

  /// "pipeline.json:5:31" (line and column from 1, column in characters), "--set steps.ct.steps" when the command line
  /// gave the value, "pipeline.json" when there is no text. A value that is not in the file (a default) has the place
  /// of its object.
  std::string where() const;
  /// As `where`, but of the key before the value.
  std::string where_key() const;
  /// The file as it was named.
  const std::string& name() const noexcept;
  /// What a relative path in this value starts from: the file's folder, or where the process works when the command
  /// line gave the value.
  std::filesystem::path folder() const;

  bool is_object() const noexcept;
  bool is_array() const noexcept;
  bool is_string() const noexcept;
  bool is_number() const noexcept;

  /// Elements of an array, members of an object (in their order). @throws ConfigError when it is neither.
  std::vector<ConfigNode> items() const;
  std::vector<Member> members() const;
  /// False also when this is no object.
  bool contains(std::string_view key) const;
  /// Member of an object. @throws ConfigError naming the missing key and one like it.
  ConfigNode at(std::string_view key) const;
  /// Element of an array. @throws ConfigError beyond its end.
  ConfigNode at(std::size_t index) const;

  /// The value as a T: bool, an integer (range checked; 3.0 is 3), float, double, std::string, or std::vector of one of
  /// these.
  /// @throws ConfigError when it is something else.
  template <typename T>
  T as() const;
  /// Member `key` as a T. @throws ConfigError when it is missing or something else.
  template <typename T>
  T get(std::string_view key) const;
  /// The same, and `fallback` when the key is missing.
  template <typename T>
  T get(std::string_view key, T fallback) const;

  /// Bytes of memory: a number, or a string like "4GiB", "512 MB", "1.5GiB". @throws ConfigError when it is neither.
  std::uint64_t as_bytes() const;

  /// @throws ConfigError "<where>: <path> <message>": `node.fail("must be even, got {}", n)`.
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    fail_with(fmt::format(format, std::forward<Args>(args)...));
  }

  /// The same document with another value at this place, where positions still come from the file: for defaults filled
  /// in.
  ConfigNode with_value(Json value) const;

 private:
  friend ConfigNode parse_config(std::string text, std::string name, std::filesystem::path folder);
  friend ConfigNode apply_overrides(const ConfigNode& document, std::span<const std::string> settings,
                                    std::span<const std::string> creatable);

  ConfigNode(std::shared_ptr<const ConfigSource> source, std::shared_ptr<const Json> value);

  ConfigNode child(const Json& value, std::string_view key, std::string path) const;
  [[noreturn]] void fail_with(const std::string& message) const;
  [[noreturn]] void fail_type(std::string_view wanted) const;
  bool as_bool() const;
  std::int64_t as_signed(std::int64_t low, std::int64_t high) const;
  std::uint64_t as_unsigned(std::uint64_t high) const;
  double as_double() const;
  const std::string& as_string() const;

  std::shared_ptr<const ConfigSource> source_;
  std::shared_ptr<const Json> value_;  // shares the ownership of the whole document
  std::string pointer_;
  std::string path_;
};

}  // namespace medgen

#include "core/config/node_inl.h"
