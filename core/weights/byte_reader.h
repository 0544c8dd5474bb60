// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace medgen {

static_assert(std::endian::native == std::endian::little, "weight files are little-endian and read as they are");

/// Reads little-endian numbers from front to back. Every read is checked; an error names the file and the byte.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}

  std::size_t position() const noexcept { return position_; }

  std::size_t size() const noexcept { return bytes_.size(); }

  std::size_t left() const noexcept { return bytes_.size() - position_; }

  const std::string& where() const noexcept { return where_; }

  void seek(std::uint64_t position) {
    if (position > bytes_.size()) fail("points to byte {}, past the end ({} bytes)", position, bytes_.size());
    position_ = static_cast<std::size_t>(position);
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > left()) fail("{} bytes expected, but only {} are left: the file is cut off or damaged", count, left());
    const auto taken = bytes_.subspan(position_, static_cast<std::size_t>(count));
    position_ += taken.size();
    return taken;
  }

  std::string_view text(std::uint64_t count) {
    const auto taken = take(count);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  /// @throws DataError "<file>, byte <n>: <message>".
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw DataError("{}, byte {}: {}", where_, position_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  std::size_t position_ = 0;
};

}  // namespace medgen
