// SPDX-License-Identifier: Apache-2.0
#include "core/base/share.h"

#include "core/base/error.h"

#include <charconv>

namespace medgen {

Part parse_part(const std::string& text) {
  const char* const end = text.data() + text.size();
  std::size_t number = 0;
  std::size_t count = 0;
  auto read = std::from_chars(text.data(), end, number);
  const bool divided = read.ec == std::errc() && read.ptr != end && *read.ptr == '/';
  if (divided) read = std::from_chars(read.ptr + 1, end, count);
  if (!divided || read.ec != std::errc() || read.ptr != end || number == 0 || number > count)
    throw UsageError("'{}' is no part; 2/8 is the second of eight", text);
  return {number - 1, count};
}

std::string to_string(const Part& part) {
  return fmt::format("{}/{}", part.index + 1, part.count);
}

}  // namespace medgen
