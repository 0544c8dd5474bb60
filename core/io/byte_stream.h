// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/file.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace medgen {

/// The bytes of a file in order, decompressed when the file is gzip (told by its first bytes, not its name; several
/// members in a row count as one). Decompression goes straight into the caller's memory. One thread at a time. All
/// functions throw DataError with the path: gzip data that are damaged, cut short, fail their checksum, or are followed
/// by something else.
class ByteSource {
 public:
  explicit ByteSource(std::filesystem::path path);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  const std::filesystem::path& path() const noexcept { return file_.path(); }

  /// Fills `buffer` as far as the file goes; returns the bytes read.
  std::size_t read(std::span<std::byte> buffer);
  /// Passes over `bytes`, or fewer at the end; returns how many.
  std::uint64_t skip(std::uint64_t bytes);
  /// No more bytes than this can come: the file's size, or what gzip can make of it. For checks before memory is
  /// allocated.
  std::uint64_t most_bytes() const noexcept;

 private:
  struct Gzip;

  std::span<const std::byte> refill();
  std::size_t inflate_into(std::span<std::byte> buffer);
  bool next_member();

  InputFile file_;
  std::vector<std::byte> buffer_;
  std::span<const std::byte> ahead_;  ///< read from the file, not yet used
  std::unique_ptr<Gzip> gzip_;
};

/// An AtomicFile that compresses as gzip when a level is given. The same input gives the same bytes.
class ByteSink {
 public:
  /// @param gzip_level 0 (store) to 9 (smallest); nothing for no compression.
  ByteSink(std::filesystem::path path, std::optional<int> gzip_level);
  ~ByteSink();
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Until then nothing appears under the name.
  void commit();

 private:
  struct Gzip;

  void deflate_all(std::span<const std::byte> bytes, bool finish);

  AtomicFile file_;
  std::unique_ptr<Gzip> gzip_;
};

}  // namespace medgen
