// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/sdk/error.hpp>

#include <nlohmann/json.hpp>

#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>

namespace medgen::schedulers {

/// A component's config: typed access with defaults. The host has validated it against the schema; what reaches a
/// component without a host is checked here once more.
class Config {
 public:
  /// @throws sdk::Error when `text` is no JSON object.
  explicit Config(std::string_view text) : json_(nlohmann::json::parse(text.empty() ? "{}" : text, nullptr, false)) {
    if (!json_.is_object()) throw sdk::invalid("the config is no JSON object: ", text.substr(0, 80));
  }

  /// A finite number within [low, high].
  double number(const char* key, double fallback, double low = -std::numeric_limits<double>::max(),
                double high = std::numeric_limits<double>::max()) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    const double value = found->is_number() ? found->get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(value >= low && value <= high)) {
      throw sdk::invalid(key, " is ", found->dump(), ", expected a number from ", low, " to ", high);
    }
    return value;
  }

  int integer(const char* key, int fallback, int low, int high) const {
    const double value = number(key, fallback, low, high);
    if (value != static_cast<int>(value)) throw sdk::invalid(key, " is ", value, ", expected an integer");
    return static_cast<int>(value);
  }

  bool flag(const char* key, bool fallback) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    if (!found->is_boolean()) throw sdk::invalid(key, " is ", found->dump(), ", expected true or false");
    return found->get<bool>();
  }

  /// The position of the value in `names`.
  int choice(const char* key, int fallback, std::initializer_list<const char*> names) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return fallback;
    std::string known;
    int index = 0;
    for (const char* name : names) {
      if (found->is_string() && found->get_ref<const std::string&>() == name) return index;
      if (index++ > 0) known += ", ";
      known += name;
    }
    throw sdk::invalid(key, " is ", found->dump(), ", expected one of ", known);
  }

 private:
  nlohmann::json json_;
};

}  // namespace medgen::schedulers
