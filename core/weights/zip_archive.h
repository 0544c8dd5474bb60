// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/weights/mapped_file.h"
#include "core/weights/tensor_view.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// One file in a zip archive.
struct ZipEntry {
  std::string name;
  std::uint64_t offset = 0;  ///< of the first data byte, from the start of the file
  std::uint64_t stored_bytes = 0;
  std::uint64_t bytes = 0;  ///< after decompression
  std::uint32_t crc = 0;
  bool deflated = false;
};

/// A mapped zip archive (zip64 too; entries stored or deflated). Opening checks the whole directory: complete, no name
/// twice, entries inside the file and apart from each other, no zip bomb. A library is not used because stored entries
/// are read in place: a checkpoint of any size costs no copy. Source: PKWARE APPNOTE 6.3.9, sections 4.3 and 4.5.3.
class ZipArchive {
 public:
  /// @throws DataError naming the file and the place.
  explicit ZipArchive(std::shared_ptr<const MappedFile> file);

  const std::vector<ZipEntry>& entries() const noexcept { return entries_; }

  /// nullptr when there is no such entry.
  const ZipEntry* find(std::string_view name) const;

  /// The contents, in the mapping itself for stored entries. @throws DataError when the checksum or the size is wrong.
  Blob read(const ZipEntry& entry) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<ZipEntry> entries_;  // sorted by name
  bool has_checksums_ = true;
};

}  // namespace medgen
