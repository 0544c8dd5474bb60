// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace medgen {

/// A whole file mapped read-only: pages are read when touched and shared between processes. Tensors keep it alive.
/// The file must not be shortened while it is mapped.
class MappedFile {
 public:
  /// @throws DataError when the file cannot be read or is no regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  /// Bytes that are in memory already, under a name for messages.
  static std::shared_ptr<const MappedFile> of_bytes(std::string_view contents, const std::filesystem::path& name);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  const std::filesystem::path& path() const noexcept { return path_; }

  /// Takes the pages out of this process's memory; they come back when they are touched. For who has copied them.
  void drop_pages() const noexcept;

 private:
  explicit MappedFile(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
  std::vector<std::byte> memory_;  // what bytes_ points to when it is no mapping
};

}  // namespace medgen
