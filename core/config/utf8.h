// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace medgen {

/// Offset of the first byte that is not UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

/// The text, or at most about `max_bytes` of it and "..."; characters are not cut.
std::string clip(std::string_view text, std::size_t max_bytes);

}  // namespace medgen
