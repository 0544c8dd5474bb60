// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <limits>
#include <type_traits>

namespace medgen {

template <typename T>
constexpr bool kIsVector = false;
template <typename T>
constexpr bool kIsVector<std::vector<T>> = true;

template <typename T>
T ConfigNode::as() const {
  if constexpr (std::is_same_v<T, bool>) {
    return as_bool();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return as_string();
  } else if constexpr (std::signed_integral<T>) {
    return static_cast<T>(as_signed(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  } else if constexpr (std::unsigned_integral<T>) {
    return static_cast<T>(as_unsigned(std::numeric_limits<T>::max()));
  } else if constexpr (std::floating_point<T>) {
    return static_cast<T>(as_double());
  } else {
    static_assert(kIsVector<T>, "bool, integers, floats, std::string and vectors of them can be read");
    T values;
    for (const ConfigNode& item : items()) values.push_back(item.as<typename T::value_type>());
    return values;
  }
}

template <typename T>
T ConfigNode::get(std::string_view key) const {
  return at(key).as<T>();
}

template <typename T>
T ConfigNode::get(std::string_view key, T fallback) const {
  return contains(key) ? at(key).as<T>() : fallback;
}

}  // namespace medgen
