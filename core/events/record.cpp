// SPDX-License-Identifier: Apache-2.0
#include "core/events/record.h"

#include "core/base/error.h"

#include <array>
#include <bit>

namespace medgen::events {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

/// Checksums are stored rotated and shifted, so that a checksum of data that holds checksums stays a good one.
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <typename T>
std::string little_endian(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

/// Fields of a protobuf message, in the order they are added.
class Message {
 public:
  Message& number(unsigned field, std::uint64_t value) {
    varint(field << 3 | 0);
    varint(value);
    return *this;
  }

  Message& real(unsigned field, double value) {
    varint(field << 3 | 1);
    bytes_ += little_endian(std::bit_cast<std::uint64_t>(value));
    return *this;
  }

  Message& real(unsigned field, float value) {
    varint(field << 3 | 5);
    bytes_ += little_endian(std::bit_cast<std::uint32_t>(value));
    return *this;
  }

  /// Text, bytes, and messages within messages.
  Message& bytes(unsigned field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }

  const std::string& str() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto.
namespace event {
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
}

namespace summary {
constexpr unsigned kValue = 1;
}

namespace value {
constexpr unsigned kTag = 1, kSimpleValue = 2, kImage = 4;
}

namespace image {
constexpr unsigned kHeight = 1, kWidth = 2, kColours = 3, kEncoded = 4;
}

Message event_at(double wall_time, std::uint64_t step) {
  return Message().real(event::kWallTime, wall_time).number(event::kStep, step);
}

/// A big-endian number in the header of a PNG file.
std::uint32_t header_number(std::string_view png, std::size_t at) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8 | static_cast<unsigned char>(png[at + i]);
  return number;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

std::string framed(std::string_view payload) {
  const std::string length = little_endian(std::uint64_t{payload.size()});
  std::string record = length + little_endian(masked(crc32c(length)));
  record += payload;
  return record + little_endian(masked(crc32c(payload)));
}

std::string file_version_event(double wall_time) {
  return Message().real(event::kWallTime, wall_time).bytes(event::kFileVersion, "brain.Event:2").str();
}

std::string restart_event(double wall_time, std::uint64_t step) {
  constexpr unsigned kStatus = 1;
  constexpr std::uint64_t kStart = 1;
  return event_at(wall_time, step).bytes(event::kSessionLog, Message().number(kStatus, kStart).str()).str();
}

std::string scalars_event(double wall_time, std::uint64_t step, const std::map<std::string, double>& values) {
  Message summary;
  for (const auto& [tag, number] : values) {
    const Message one = Message().bytes(value::kTag, tag).real(value::kSimpleValue, static_cast<float>(number));
    summary.bytes(summary::kValue, one.str());
  }
  return event_at(wall_time, step).bytes(event::kSummary, summary.str()).str();
}

std::string image_event(double wall_time, std::uint64_t step, std::string_view tag, std::string_view png) {
  constexpr std::string_view kSignature = "\x89PNG\r\n\x1a\n";
  constexpr std::size_t kWidthAt = 16, kHeightAt = 20, kHeaderEnd = 24;
  constexpr std::uint64_t kRgb = 3;
  if (!png.starts_with(kSignature) || png.size() < kHeaderEnd) throw DataError("'{}' is no PNG image", tag);
  const Message picture = Message()
                              .number(image::kHeight, header_number(png, kHeightAt))
                              .number(image::kWidth, header_number(png, kWidthAt))
                              .number(image::kColours, kRgb)
                              .bytes(image::kEncoded, png);
  const Message one = Message().bytes(value::kTag, tag).bytes(value::kImage, picture.str());
  return event_at(wall_time, step).bytes(event::kSummary, Message().bytes(summary::kValue, one.str()).str()).str();
}

}  // namespace medgen::events
