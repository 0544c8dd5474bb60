// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace medgen::support {

/// Texts one after the other, put together when the program is compiled: schemas that share a part.
template <const std::string_view&... kParts>
class Joined {
  static constexpr std::size_t kSize = (kParts.size() + ...);
  static constexpr auto kBytes = [] {
    std::array<char, kSize> bytes{};
    std::size_t next = 0;
    const auto append = [&](std::string_view part) {
      for (const char c : part) bytes[next++] = c;
    };
    (append(kParts), ...);
    return bytes;
  }();

 public:
  static constexpr std::string_view text{kBytes.data(), kSize};
};

}  // namespace medgen::support
