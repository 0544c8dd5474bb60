// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace medgen {

/// The whole file. @throws DataError when it cannot be read, is no regular file, or has more than `max_bytes` bytes
/// (checked before anything is allocated).
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes);

/// A regular file open for reading, closed with the object. One thread at a time. Errors are DataError and name the
/// path.
class InputFile {
 public:
  /// @throws DataError when it cannot be opened or is no regular file (a folder, a FIFO).
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }

  std::uint64_t size() const noexcept { return size_; }

  /// Fills `buffer` as far as the file goes; returns the bytes read, 0 at the end.
  std::size_t read(std::span<std::byte> buffer);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// A file that appears under its name complete or not at all: written under a temporary name in the same folder,
/// flushed to the disk and renamed by `commit`; without a commit the destructor removes it and leaves what was there
/// untouched. What killed processes of this machine left of theirs in the folder is removed. One thread at a time.
/// Errors are RuntimeError and name the final path.
class AtomicFile {
 public:
  /// Opens the temporary file. The folder must exist.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// At a place of the file, whatever was written before; `write` goes on where it was.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  /// For libraries that want to write by themselves; still owned by this object.
  int descriptor() const noexcept { return descriptor_; }

  const std::filesystem::path& path() const noexcept { return path_; }

  const std::filesystem::path& temporary_path() const noexcept { return temporary_; }

  void commit();

 private:
  [[noreturn]] void fail(std::string_view action, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view contents);

/// Where temporary files go: TMPDIR, else /tmp. @throws RuntimeError when it is no folder
std::filesystem::path temporary_folder();

/// SHA-256 in lower-case hexadecimal (FIPS 180-4).
std::string sha256(std::span<const std::byte> bytes);
std::string sha256(std::string_view text);
/// Read in pieces, so any size. @throws DataError when the file cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace medgen
