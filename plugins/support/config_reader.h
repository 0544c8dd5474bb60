// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace medgen::support {

/// Reads a component's config object strictly: a wrong type, a value out of bounds or an unknown key is an InvalidInput
/// that names component, key and value. Fields keep their defaults where a key is absent.
class ConfigReader {
 public:
  /// @param object  must outlive the reader       @param what  names the component in messages, e.g. "ControlNetMaisi"
  ConfigReader(const nlohmann::json& object, std::string what);

  bool has(const std::string& key) const;

  void read(const std::string& key, bool& value);
  void read(const std::string& key, double& value);
  void read(const std::string& key, std::string& value);

  /// Integers within [low, high].
  void read(const std::string& key, int64_t& value, int64_t low, int64_t high);

  /// As above; JSON null means absent.
  void read(const std::string& key, std::optional<int64_t>& value, int64_t low, int64_t high);

  void read(const std::string& key, std::vector<int64_t>& values, int64_t low, int64_t high);
  void read(const std::string& key, std::vector<bool>& values);

  /// A list of `count` integers, or one integer that stands for all of them.
  void read_per_level(const std::string& key, std::vector<int64_t>& values, size_t count, int64_t low, int64_t high);

  /// Takes note of a key that is read elsewhere, or accepted without effect.
  void accept(const std::string& key);

  /// The key must be there.
  void need(const std::string& key) const;

  /// To be called last. Keys that start with an underscore ("_target_" of published files) are accepted.
  /// @throws InvalidInput naming the first unknown key
  void finish() const;

 private:
  /// The value under `key`, or null when it is absent.
  const nlohmann::json* find(const std::string& key);
  int64_t integer(const nlohmann::json& value, const std::string& key, int64_t low, int64_t high) const;

  const nlohmann::json& object_;
  std::string what_;
  std::set<std::string> known_;
};

}  // namespace medgen::support
