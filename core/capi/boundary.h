// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"

#include <medgen/abi/base.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

// What every function of medgen/host.h does at its edge: exceptions become a status and a message of the thread, text
// is kept for the caller, and structs of any size are read.

namespace medgen::capi {

/// Makes the exception being handled the thread's last error and gives its status.
medgen_status_t remember_failure() noexcept;
const char* last_message() noexcept;
int last_kind() noexcept;

/// The text until the thread's next call of this function.
const char* lend(std::string text);

template <typename Function>
medgen_status_t guarded(Function&& function) noexcept {
  try {
    function();
    return MEDGEN_OK;
  } catch (...) {
    return remember_failure();
  }
}

/// @throws UsageError when a pointer that must not be NULL is.
inline void require(const void* pointer, std::string_view name) {
  if (pointer == nullptr) throw UsageError("{} is NULL", name);
}

/// A copy of a caller's struct: what the caller's version of it does not have is zero, what ours does not have is left.
template <typename T>
T read_struct(const T* given, std::string_view name) {
  T copy{};
  if (given == nullptr) return copy;
  constexpr std::uint32_t kSmallest = 2 * sizeof(std::uint32_t);
  if (given->struct_size < kSmallest)
    throw UsageError("{}.struct_size is {}; set it to sizeof", name, given->struct_size);
  std::memcpy(&copy, given, std::min<std::size_t>(given->struct_size, sizeof(T)));
  return copy;
}

inline medgen_str_t str(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace medgen::capi
