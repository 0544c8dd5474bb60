// SPDX-License-Identifier: Apache-2.0
#pragma GCC diagnostic ignored "-Wrestrict"  // false alarm of GCC 12 for "literal" + std::string (PR 105651)

#include "core/weights/zip_archive.h"

#include "core/weights/test_files.h"

#include <catch2/catch.hpp>

#include <array>

using namespace medgen;
using namespace medgen::test;
using Catch::Matchers::Contains;

namespace {

std::string contents(const ZipArchive& archive, std::string_view name) {
  const ZipEntry* entry = archive.find(name);
  REQUIRE(entry != nullptr);
  const Blob blob = archive.read(*entry);
  return {reinterpret_cast<const char*>(blob.bytes.data()), blob.bytes.size()};
}

/// Opens the archive and reads every entry.
std::string error_of(const std::string& bytes) {
  const TemporaryFile file(bytes);
  return data_error([&] {
    const ZipArchive archive(MappedFile::open(file.path()));
    for (const ZipEntry& entry : archive.entries()) archive.read(entry);
  });
}

std::uint32_t crc_of(const std::string& data) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size()));
}

ZipItem packed(const std::string& name, const std::string& data) {
  return {name, deflated(data), 8, static_cast<std::uint32_t>(data.size()), crc_of(data)};
}

}  // namespace

TEST_CASE("zip: stored and deflated entries give their contents", "[unit][weights]") {
  const std::string text(1000, 'x');
  const TemporaryFile file(make_zip({{"a/stored", "hello"}, packed("a/packed", text), {"a/empty", ""}}));
  const ZipArchive archive(MappedFile::open(file.path()));
  CHECK(archive.entries().size() == 3);
  CHECK(contents(archive, "a/stored") == "hello");
  CHECK(contents(archive, "a/packed") == text);
  CHECK(contents(archive, "a/empty").empty());
  CHECK(archive.find("a") == nullptr);
}

TEST_CASE("zip: an archive may end in a comment", "[unit][weights]") {
  std::string bytes = make_zip({{"a", "hello"}});
  bytes[bytes.size() - 2] = 5;
  const TemporaryFile file(bytes + "PK\5\6!");
  CHECK(contents(ZipArchive(MappedFile::open(file.path())), "a") == "hello");
}

TEST_CASE("zip: zip64 fields are used where the short ones say so", "[unit][weights]") {
  const std::string local = raw<std::uint32_t>(0x04034b50) + raw<std::uint16_t>(45) + std::string(4, '\0') +
                            std::string(4, '\0') + raw(crc_of("hello")) + raw<std::uint32_t>(5) +
                            raw<std::uint32_t>(5) + raw<std::uint16_t>(1) + raw<std::uint16_t>(0) + "a" + "hello";
  const std::string extra = raw<std::uint16_t>(0x9999) + raw<std::uint16_t>(2) + "??" + raw<std::uint16_t>(1) +
                            raw<std::uint16_t>(24) + raw<std::uint64_t>(5) + raw<std::uint64_t>(5) +
                            raw<std::uint64_t>(0);
  const std::string central = raw<std::uint32_t>(0x02014b50) + std::string(12, '\0') + raw(crc_of("hello")) +
                              raw<std::uint32_t>(~0U) + raw<std::uint32_t>(~0U) + raw<std::uint16_t>(1) +
                              raw(static_cast<std::uint16_t>(extra.size())) + std::string(10, '\0') +
                              raw<std::uint32_t>(~0U) + "a" + extra;
  const std::uint64_t end64 = local.size() + central.size();
  const std::string tail = raw<std::uint32_t>(0x06064b50) + raw<std::uint64_t>(44) + std::string(12, '\0') +
                           raw<std::uint64_t>(1) + raw<std::uint64_t>(1) + raw<std::uint64_t>(central.size()) +
                           raw<std::uint64_t>(local.size()) + raw<std::uint32_t>(0x07064b50) + raw<std::uint32_t>(0) +
                           raw(end64) + raw<std::uint32_t>(1) + raw<std::uint32_t>(0x06054b50) + std::string(4, '\0') +
                           raw<std::uint16_t>(0xffff) + raw<std::uint16_t>(0xffff) + raw<std::uint32_t>(~0U) +
                           raw<std::uint32_t>(~0U) + raw<std::uint16_t>(0);
  const TemporaryFile file(local + central + tail);
  CHECK(contents(ZipArchive(MappedFile::open(file.path())), "a") == "hello");
}

TEST_CASE("zip: damaged archives are refused with their reason", "[unit][weights]") {
  const std::string good = make_zip({{"a", "hello"}, {"b", "world"}});
  CHECK(error_of(good) == "(no DataError)");
  CHECK_THAT(error_of(good.substr(0, good.size() - 1)), Contains("cut off"));
  CHECK_THAT(error_of(good.substr(0, good.size() / 2)), Contains("cut off"));
  CHECK_THAT(error_of(good + "x"), Contains("cut off"));
  CHECK_THAT(error_of(""), Contains("cut off"));
  CHECK_THAT(error_of(make_zip({{"a", "hello", 0, 0, 1234}})), Contains("checksum") && Contains("entry 'a'"));
  CHECK_THAT(error_of(make_zip({{"a", "hello", 0, 6}})), Contains("its two sizes differ"));
  CHECK_THAT(error_of(make_zip({{"a", "hello", 12}})), Contains("compression method 12"));
  CHECK_THAT(error_of(make_zip({{"a", "hello"}, {"a", "world"}})), Contains("exists twice"));
  CHECK_THAT(error_of(make_zip({{"a", "hello", 0, 0, 0, 7}})), Contains("not where the zip directory says"));
  CHECK_THAT(error_of(make_zip({{"a", "hello", 0, 0, 0, 1 << 30}})), Contains("past the end"));
  CHECK_THAT(error_of(make_zip({{"a", "hello"}, {"b", "world", 0, 0, 0, 0}})), Contains("another name"));

  std::string encrypted = good;
  encrypted[encrypted.find("PK\1\2") + 8] |= 1;
  CHECK_THAT(error_of(encrypted), Contains("is encrypted"));
  std::string more = good;
  more[more.size() - 14] = 3;
  more[more.size() - 12] = 3;
  CHECK_THAT(error_of(more), Contains("damaged") || Contains("cannot hold"));
}

TEST_CASE("zip: compressed data that do not fit their declaration are refused", "[unit][weights]") {
  const std::string text(1000, 'x');
  for (const std::uint32_t size : {1U, 999U, 1001U, 2'000'000U}) {
    ZipItem item = packed("a", text);
    item.size = size;
    CHECK_THAT(error_of(make_zip({item})), Contains("do not unpack to"));
  }
  ZipItem cut = packed("a", text);
  cut.data.pop_back();
  CHECK_THAT(error_of(make_zip({cut})), Contains("do not unpack to"));
  ZipItem longer = packed("a", text);
  longer.data += "xx";
  CHECK_THAT(error_of(make_zip({longer})), Contains("do not unpack to"));
}

TEST_CASE("zip: bombs are refused before anything is unpacked", "[unit][weights]") {
  ZipItem bomb = packed("a", std::string(1000, '\0'));
  bomb.size = 200U << 20;
  CHECK_THAT(error_of(make_zip({bomb})), Contains("zip bomb"));

  std::vector<ZipItem> many;
  for (int i = 0; i < 40; ++i) {
    many.push_back(packed(std::to_string(i), std::string(1000, '\0')));
    many.back().size = 0xfffffff0U;
  }
  CHECK_THAT(error_of(make_zip(many)), Contains("zip bomb"));
}

TEST_CASE("zip: entries that share bytes are refused", "[unit][weights]") {
  // The data of the outer entry are a complete inner entry.
  const std::string inner = make_zip({{"b", "hello"}}).substr(0, 36);
  const ZipItem outer{"a", inner};
  const std::int64_t inner_at = 30 + 1;
  const std::string bytes = make_zip({outer, {"b", "hello", 0, 0, 0, inner_at}});
  CHECK_THAT(error_of(bytes), Contains("overlap"));
}
