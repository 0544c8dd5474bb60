// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/base.h>

#include <string>
#include <string_view>

namespace medgen {

inline medgen_str_t abi_text(std::string_view text) {
  return {text.data(), text.size()};
}

/// A plugin's string for a message: cut to 16 KiB, bytes that are no UTF-8 and control characters replaced by '?'.
std::string message_text(medgen_str_t text);

/// A plugin's string as it is; empty when the pointer is NULL. Only for static data of a descriptor.
inline std::string_view raw_text(medgen_str_t text) {
  return text.ptr == nullptr ? std::string_view() : std::string_view(text.ptr, text.len);
}

/// "INVALID", "CANCELLED" ...; "INTERNAL" for a code this medgen does not know, positive ones included.
std::string_view status_name(medgen_status_t status);

}  // namespace medgen
