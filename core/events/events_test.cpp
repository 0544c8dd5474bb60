// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/events/event_writer.h"
#include "core/events/record.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <unistd.h>
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>
#include <optional>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("medgen-events-{}", ::getpid());

  Folder() { fs::create_directories(path); }

  ~Folder() { fs::remove_all(path); }
};

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::uint64_t unmasked(std::string_view bytes) {
  return std::rotl(static_cast<std::uint32_t>(little_endian(bytes)) - 0xA282EAD8U, 15);
}

/// One field of a protobuf message; numbers are in `number`, everything of length in `bytes`.
struct Field {
  unsigned id = 0;
  std::uint64_t number = 0;
  std::string_view bytes;
};

std::uint64_t take_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(rest.at(0));
    rest.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
}

std::vector<Field> fields_of(std::string_view message) {
  std::vector<Field> fields;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message);
    Field field{static_cast<unsigned>(key >> 3), 0, {}};
    const unsigned wire = key & 7;
    if (wire == 0) {
      field.number = take_varint(message);
    } else {
      const std::size_t size = wire == 1 ? 8 : wire == 5 ? 4 : take_varint(message);
      field.bytes = message.substr(0, size);
      if (wire != 2) field.number = little_endian(field.bytes);
      message.remove_prefix(size);
    }
    fields.push_back(field);
  }
  return fields;
}

std::optional<Field> find(const std::vector<Field>& fields, unsigned id) {
  for (const Field& field : fields) {
    if (field.id == id) return field;
  }
  return std::nullopt;
}

/// Payloads of the whole records of a file; their checksums are checked.
std::vector<std::string> records_of(const fs::path& file) {
  const std::string bytes = read_file(file, 1 << 24);
  std::vector<std::string> records;
  for (std::size_t at = 0; at + 16 <= bytes.size();) {
    const std::string length = bytes.substr(at, 8);
    REQUIRE(unmasked(bytes.substr(at + 8, 4)) == events::crc32c(length));
    const std::size_t size = little_endian(length);
    if (at + 16 + size > bytes.size()) break;
    records.push_back(bytes.substr(at + 12, size));
    REQUIRE(unmasked(bytes.substr(at + 12 + size, 4)) == events::crc32c(records.back()));
    at += 16 + size;
  }
  return records;
}

float simple_value(std::string_view value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(find(fields_of(value), 2)->number));
}

/// A PNG header of 300 x 5 pixels with nothing behind it.
std::string png_header() {
  return std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x2c\0\0\0\x05", 24);
}

}  // namespace

TEST_CASE("events: the checksum is CRC-32C", "[unit][events]") {
  REQUIRE(events::crc32c("") == 0);
  REQUIRE(events::crc32c("123456789") == 0xE3069283);
  REQUIRE(events::crc32c(std::string(32, '\0')) == 0x8A9136AA);  // RFC 3720, B.4
  REQUIRE(events::crc32c(std::string(32, '\xff')) == 0x62A8AB43);
}

TEST_CASE("events: scalars come back with their tags, steps and times", "[unit][events]") {
  const Folder folder;
  EventWriter writer(folder.path / "new" / "folder");
  writer.scalars(300, {{"train/loss", 0.125}, {"lr", 1e-4}});
  const std::vector<std::string> records = records_of(writer.path());
  REQUIRE(records.size() == 2);
  REQUIRE(find(fields_of(records[0]), 3)->bytes == "brain.Event:2");
  const auto event = fields_of(records[1]);
  const double time = std::bit_cast<double>(find(event, 1)->number);
  REQUIRE(std::abs(time - static_cast<double>(std::time(nullptr))) < 60);
  REQUIRE(find(event, 2)->number == 300);
  const auto values = fields_of(find(event, 5)->bytes);
  REQUIRE(values.size() == 2);
  REQUIRE(find(fields_of(values[0].bytes), 1)->bytes == "lr");
  REQUIRE(simple_value(values[0].bytes) == 1e-4F);
  REQUIRE(find(fields_of(values[1].bytes), 1)->bytes == "train/loss");
  REQUIRE(simple_value(values[1].bytes) == 0.125F);
}

TEST_CASE("events: a picture carries its size and its bytes", "[unit][events]") {
  const Folder folder;
  EventWriter writer(folder.path);
  const std::string png = png_header() + std::string(1000, '\x80');
  writer.image(std::numeric_limits<std::uint64_t>::max() / 2, "samples", png);
  const std::string record = records_of(writer.path()).at(1);
  REQUIRE(find(fields_of(record), 2)->number == std::numeric_limits<std::uint64_t>::max() / 2);
  const auto value = fields_of(fields_of(find(fields_of(record), 5)->bytes).at(0).bytes);
  REQUIRE(find(value, 1)->bytes == "samples");
  const auto image = fields_of(find(value, 4)->bytes);
  REQUIRE(find(image, 1)->number == 5);
  REQUIRE(find(image, 2)->number == 300);
  REQUIRE(find(image, 4)->bytes == png);
}

TEST_CASE("events: a resumed training gets a later file that says where it goes on", "[unit][events]") {
  const Folder folder;
  // From a machine whose clock runs ahead, with a record that a kill has torn.
  std::ofstream(folder.path / "events.out.tfevents.4000000000.elsewhere.1.medgen") << "torn";
  std::vector<fs::path> files;
  for (const std::uint64_t step : {0, 17, 0}) {
    EventWriter writer(folder.path, step);
    files.push_back(writer.path());
    writer.scalars(step + 1, {{"loss", 1}});
  }
  REQUIRE(std::is_sorted(files.begin(), files.end()));
  REQUIRE(files[0].filename().string() > "events.out.tfevents.4000000000.elsewhere.1.medgen");
  REQUIRE(records_of(files[0]).size() == 2);
  const std::vector<std::string> resumed = records_of(files[1]);
  REQUIRE(resumed.size() == 3);
  REQUIRE(find(fields_of(resumed[1]), 2)->number == 17);
  REQUIRE(find(fields_of(find(fields_of(resumed[1]), 7)->bytes), 1)->number == 1);
}

TEST_CASE("events: numbers that are not finite and empty lists are written", "[unit][events]") {
  const Folder folder;
  EventWriter writer(folder.path);
  writer.scalars(1, {{"loss", std::nan("")}});
  writer.scalars(2, {});
  const std::vector<std::string> records = records_of(writer.path());
  REQUIRE(records.size() == 3);
  REQUIRE(std::isnan(simple_value(fields_of(find(fields_of(records[1]), 5)->bytes).at(0).bytes)));
}

TEST_CASE("events: what is no PNG is refused and leaves no trace", "[unit][events]") {
  const Folder folder;
  EventWriter writer(folder.path);
  for (const std::string& bytes : {std::string(), std::string("P5 3 3"), png_header().substr(0, 20)})
    REQUIRE_THROWS_AS(writer.image(1, "samples", bytes), DataError);
  REQUIRE(records_of(writer.path()).size() == 1);
}

TEST_CASE("events: a folder that cannot be made is an error that names it", "[unit][events]") {
  const Folder folder;
  const fs::path file = folder.path / "file";
  std::ofstream(file) << "x";
  REQUIRE_THROWS_WITH(EventWriter(file / "events"), Catch::Contains("file/events"));
  REQUIRE_THROWS_AS(EventWriter(file), RuntimeError);
}

TEST_CASE("events: a full disk leaves whole records and can be written on", "[unit][events]") {
  const Folder folder;
  EventWriter writer(folder.path);
  writer.scalars(1, {{"loss", 1}});
  rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{fs::file_size(writer.path()) + 20, old.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &tight) == 0);
  std::string message;
  try {
    writer.scalars(2, {{"loss", 2}});
  } catch (const RuntimeError& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  REQUIRE(message.find(writer.path().string()) != std::string::npos);
  REQUIRE(records_of(writer.path()).size() == 2);
  writer.scalars(3, {{"loss", 3}});
  REQUIRE(records_of(writer.path()).size() == 3);
}

}  // namespace medgen
