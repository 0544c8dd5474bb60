// SPDX-License-Identifier: Apache-2.0
// Files for the tests of this folder: fixtures, temporary files, hand-made zip archives and pickles.
#pragma once

#include "core/base/error.h"

#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace medgen::test {

inline std::filesystem::path fixture(std::string_view name) {
  return std::filesystem::path(MEDGEN_SOURCE_DIR) / "tests/data/checkpoints" / name;
}

inline std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view contents = {}) {
    static std::atomic<int> counter{0};
    path_ =
        std::filesystem::temp_directory_path() / fmt::format("medgen-weights-{}-{}", ::getpid(), counter.fetch_add(1));
    write(contents);
  }

  ~TemporaryFile() { std::filesystem::remove(path_); }

  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::string_view contents) const {
    std::ofstream(path_, std::ios::binary | std::ios::trunc)
        .write(contents.data(), static_cast<std::streamsize>(contents.size()));
  }

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The bytes of a number, little-endian.
template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

struct ZipItem {
  std::string name;
  std::string data;  ///< as stored
  std::uint16_t method = 0;
  std::uint32_t size = 0;    ///< unpacked; 0: the size of data
  std::uint32_t crc = 0;     ///< 0: computed from data
  std::int64_t offset = -1;  ///< in the directory; -1: the true one
};

inline std::string zip_fields(const ZipItem& item) {
  const auto crc =
      item.crc != 0
          ? item.crc
          : static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(item.data.data()), item.data.size()));
  const auto stored = static_cast<std::uint32_t>(item.data.size());
  return raw<std::uint16_t>(20) + raw<std::uint16_t>(0) + raw(item.method) + raw<std::uint32_t>(0) + raw(crc) +
         raw(stored) + raw(item.size != 0 ? item.size : stored) + raw(static_cast<std::uint16_t>(item.name.size())) +
         raw<std::uint16_t>(0);
}

/// A zip archive, wrong where the items are wrong.
inline std::string make_zip(const std::vector<ZipItem>& items) {
  std::string file;
  std::string directory;
  for (const ZipItem& item : items) {
    const auto offset =
        static_cast<std::uint32_t>(item.offset < 0 ? static_cast<std::int64_t>(file.size()) : item.offset);
    const std::string fields = zip_fields(item);
    file += raw<std::uint32_t>(0x04034b50) + fields + item.name + item.data;
    directory += raw<std::uint32_t>(0x02014b50) + raw<std::uint16_t>(20) + fields + std::string(10, '\0') +
                 raw(offset) + item.name;
  }
  const auto count = static_cast<std::uint16_t>(items.size());
  return file + directory + raw<std::uint32_t>(0x06054b50) + raw<std::uint32_t>(0) + raw(count) + raw(count) +
         raw(static_cast<std::uint32_t>(directory.size())) + raw(static_cast<std::uint32_t>(file.size())) +
         raw<std::uint16_t>(0);
}

/// Raw deflate, as zip stores it.
inline std::string deflated(const std::string& data) {
  std::string out(compressBound(data.size()) + 64, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// The message of the DataError that `run` ends in; a sentence that no test expects when it does not.
template <typename Run>
std::string data_error(Run run) {
  try {
    run();
  } catch (const DataError& error) {
    return error.what();
  }
  return "(no DataError)";
}

}  // namespace medgen::test
