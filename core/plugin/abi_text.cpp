// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/abi_text.h"

#include <algorithm>
#include <cstdint>

namespace medgen {
namespace {

/// Bytes of the well-formed UTF-8 character at the start of `text`, 0 when there is none (Unicode 15, table 3-7).
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{0};
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return (lead >= 0x20 && lead != 0x7F) || lead == '\n' || lead == '\t' ? 1 : 0;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool valid = (lead != 0xE0 || byte(1) >= 0xA0) && (lead != 0xED || byte(1) <= 0x9F);
    return valid && tail(1) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool valid = (lead != 0xF0 || byte(1) >= 0x90) && (lead != 0xF4 || byte(1) <= 0x8F);
    return valid && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string message_text(medgen_str_t text) {
  constexpr std::uint64_t kMaxBytes = 16 << 10;
  std::string_view rest = raw_text({text.ptr, std::min(text.len, kMaxBytes)});
  std::string clean;
  clean.reserve(rest.size());
  while (!rest.empty()) {
    const std::size_t bytes = character_bytes(rest);
    clean += bytes == 0 ? std::string_view("?") : rest.substr(0, bytes);
    rest.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return clean;
}

std::string_view status_name(medgen_status_t status) {
  switch (status) {
    case MEDGEN_OK:
      return "OK";
    case MEDGEN_E_INVALID:
      return "INVALID";
    case MEDGEN_E_UNSUPPORTED:
      return "UNSUPPORTED";
    case MEDGEN_E_CANCELLED:
      return "CANCELLED";
    case MEDGEN_E_OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case MEDGEN_E_DEADLINE:
      return "DEADLINE";
    case MEDGEN_E_NOT_FOUND:
      return "NOT_FOUND";
    case MEDGEN_E_IO:
      return "IO";
    case MEDGEN_E_DEVICE:
      return "DEVICE";
    case MEDGEN_E_STATE:
      return "STATE";
    case MEDGEN_E_NONDETERMINISTIC:
      return "NONDETERMINISTIC";
    default:
      return "INTERNAL";
  }
}

}  // namespace medgen
