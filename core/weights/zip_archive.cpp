// SPDX-License-Identifier: Apache-2.0
#include "core/weights/zip_archive.h"

#include "core/base/error.h"
#include "core/weights/byte_reader.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace medgen {
namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50;
constexpr std::uint32_t kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEnd = 0x06054b50;
constexpr std::uint32_t kEnd64 = 0x06064b50;
constexpr std::uint32_t kEnd64Locator = 0x07064b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLocatorBytes = 20;
constexpr std::size_t kLocalHeaderBytes = 30;
constexpr std::uint16_t kZip64Extra = 0x0001;
constexpr std::uint32_t kSeeZip64 = 0xffffffff;
constexpr std::uint16_t kEncrypted = 1U << 0 | 1U << 6;

// What torch writes is stored, so a high ratio can only be an attempt to fill the memory.
constexpr std::uint64_t kMaxRatio = 200;
constexpr std::uint64_t kBombBytes = std::uint64_t{64} << 20;

struct Directory {
  std::uint64_t entries = 0;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t end = 0;  ///< where the records after the directory start
};

/// The end record is the last thing in the file; only its own comment may follow it.
std::size_t find_end_record(ByteReader reader) {
  const std::size_t size = reader.size();
  const std::size_t earliest = size > kEndBytes + 0xffff ? size - kEndBytes - 0xffff : 0;
  for (std::size_t at = size < kEndBytes ? 0 : size - kEndBytes + 1; at-- > earliest;) {
    reader.seek(at);
    if (reader.number<std::uint32_t>() != kEnd) continue;
    reader.seek(at + kEndBytes - 2);
    if (reader.number<std::uint16_t>() == reader.left()) return at;
  }
  reader.seek(size);
  reader.fail("the zip archive has no end record: the file is cut off or damaged");
}

Directory read_end64(ByteReader reader, std::size_t end_record) {
  reader.seek(end_record - kLocatorBytes + 8);
  reader.seek(reader.number<std::uint64_t>());
  Directory directory;
  directory.end = reader.position();
  if (reader.number<std::uint32_t>() != kEnd64) reader.fail("the zip64 end record is missing or damaged");
  reader.take(8 + 2 + 2 + 4 + 4);  // size, versions, disk numbers
  const auto on_this_disk = reader.number<std::uint64_t>();
  directory.entries = reader.number<std::uint64_t>();
  directory.bytes = reader.number<std::uint64_t>();
  directory.offset = reader.number<std::uint64_t>();
  if (on_this_disk != directory.entries) reader.fail("zip archives in several parts are not supported");
  return directory;
}

Directory find_directory(ByteReader reader) {
  const std::size_t end_record = find_end_record(reader);
  Directory directory;
  if (end_record >= kLocatorBytes) {
    reader.seek(end_record - kLocatorBytes);
    if (reader.number<std::uint32_t>() == kEnd64Locator) directory = read_end64(reader, end_record);
  }
  if (directory.end == 0) {
    reader.seek(end_record + 4);
    const auto disk = reader.number<std::uint32_t>();  // two 16-bit disk numbers
    const auto on_this_disk = reader.number<std::uint16_t>();
    directory.entries = reader.number<std::uint16_t>();
    directory.bytes = reader.number<std::uint32_t>();
    directory.offset = reader.number<std::uint32_t>();
    directory.end = end_record;
    if (disk != 0 || on_this_disk != directory.entries) reader.fail("zip archives in several parts are not supported");
  }
  if (directory.offset > directory.end || directory.bytes != directory.end - directory.offset) {
    reader.fail("the zip directory ({} bytes at {}) does not end at byte {}: the file is cut off or damaged",
                directory.bytes, directory.offset, directory.end);
  }
  return directory;
}

/// Replaces the 32-bit fields that say "see the zip64 field", in the order the format prescribes.
void apply_zip64(ByteReader extra, ZipEntry& entry) {
  while (extra.left() >= 4) {
    const auto id = extra.number<std::uint16_t>();
    const auto bytes = extra.number<std::uint16_t>();
    ByteReader field(extra.take(bytes), extra.where());
    if (id != kZip64Extra) continue;
    for (std::uint64_t* value : {&entry.bytes, &entry.stored_bytes, &entry.offset}) {
      if (*value == kSeeZip64) *value = field.number<std::uint64_t>();
    }
    return;
  }
}

ZipEntry read_central_header(ByteReader& reader) {
  if (reader.number<std::uint32_t>() != kCentralHeader) reader.fail("the zip directory is damaged");
  reader.take(2 + 2);  // versions
  const auto flags = reader.number<std::uint16_t>();
  const auto method = reader.number<std::uint16_t>();
  reader.take(2 + 2);  // time, date
  ZipEntry entry;
  entry.crc = reader.number<std::uint32_t>();
  entry.stored_bytes = reader.number<std::uint32_t>();
  entry.bytes = reader.number<std::uint32_t>();
  const auto name_bytes = reader.number<std::uint16_t>();
  const auto extra_bytes = reader.number<std::uint16_t>();
  const auto comment_bytes = reader.number<std::uint16_t>();
  reader.take(2 + 2 + 4);  // disk, attributes
  entry.offset = reader.number<std::uint32_t>();
  entry.name = reader.text(name_bytes);
  apply_zip64(ByteReader(reader.take(extra_bytes), reader.where()), entry);
  reader.take(comment_bytes);
  entry.deflated = method == Z_DEFLATED;
  if ((flags & kEncrypted) != 0) reader.fail("entry '{}' is encrypted", entry.name);
  if (method != 0 && !entry.deflated) reader.fail("entry '{}' uses compression method {}", entry.name, method);
  if (!entry.deflated && entry.bytes != entry.stored_bytes) {
    reader.fail("entry '{}' is stored, but its two sizes differ ({} and {})", entry.name, entry.stored_bytes,
                entry.bytes);
  }
  return entry;
}

/// Moves entry.offset from the local header to the data behind it. Sizes are taken from the directory alone: the local
/// ones are empty when the writer could not seek, as torch's.
void skip_local_header(ByteReader reader, ZipEntry& entry, std::uint64_t directory_offset) {
  reader.seek(entry.offset);
  if (reader.left() < kLocalHeaderBytes || reader.number<std::uint32_t>() != kLocalHeader) {
    reader.fail("entry '{}' is not where the zip directory says", entry.name);
  }
  reader.take(22);
  const auto name_bytes = reader.number<std::uint16_t>();
  const auto extra_bytes = reader.number<std::uint16_t>();
  if (reader.text(name_bytes) != entry.name) reader.fail("entry '{}' has another name in its own header", entry.name);
  reader.take(extra_bytes);
  entry.offset = reader.position();
  if (entry.offset > directory_offset || entry.stored_bytes > directory_offset - entry.offset) {
    reader.fail("entry '{}' ({} bytes) reaches into the zip directory", entry.name, entry.stored_bytes);
  }
}

/// Entries may not share bytes (the trick of archives that unpack to more than any ratio allows).
void check_apart(std::vector<std::pair<std::uint64_t, const ZipEntry*>> starts, const ByteReader& reader) {
  std::ranges::sort(starts);
  for (std::size_t i = 1; i < starts.size(); ++i) {
    const ZipEntry& before = *starts[i - 1].second;
    if (starts[i].first < before.offset + before.stored_bytes) {
      reader.fail("zip entries '{}' and '{}' overlap", before.name, starts[i].second->name);
    }
  }
}

void check_bomb(const std::vector<ZipEntry>& entries, const ByteReader& reader) {
  std::uint64_t total = 0;
  for (const ZipEntry& entry : entries) {
    if (__builtin_add_overflow(total, entry.bytes, &total)) total = std::numeric_limits<std::uint64_t>::max();
  }
  if (total > kBombBytes && total / kMaxRatio > reader.size()) {
    reader.fail("unpacks from {} to {} bytes, more than {} times its size: refused as a zip bomb", reader.size(), total,
                kMaxRatio);
  }
}

struct Inflater {
  z_stream stream{};

  Inflater() {
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw OutOfMemoryError("no memory for decompression");
  }

  ~Inflater() { inflateEnd(&stream); }

  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

/// True when `from` inflates to exactly the bytes of `to`.
bool inflate_exactly(std::span<const std::byte> from, std::span<std::byte> to) {
  constexpr std::size_t kStep = std::size_t{1} << 30;  // zlib counts in 32 bits
  Inflater inflater;
  z_stream& stream = inflater.stream;
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(from.data()));
  stream.next_out = reinterpret_cast<Bytef*>(to.data());
  std::size_t in_left = from.size();
  std::size_t out_left = to.size();
  int status = Z_OK;
  while (status == Z_OK) {
    stream.avail_in = static_cast<uInt>(std::min(in_left, kStep));
    stream.avail_out = static_cast<uInt>(std::min(out_left, kStep));
    const uInt in_before = stream.avail_in;
    const uInt out_before = stream.avail_out;
    status = inflate(&stream, Z_NO_FLUSH);
    in_left -= in_before - stream.avail_in;
    out_left -= out_before - stream.avail_out;
  }
  return status == Z_STREAM_END && in_left == 0 && out_left == 0;
}

}  // namespace

ZipArchive::ZipArchive(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  ByteReader reader(file_->bytes(), file_->path().string());
  const Directory directory = find_directory(reader);
  constexpr std::uint64_t kSmallestHeader = 46;
  if (directory.entries > directory.bytes / kSmallestHeader) {
    reader.fail("the zip directory cannot hold {} entries in {} bytes", directory.entries, directory.bytes);
  }
  reader.seek(directory.offset);
  entries_.reserve(directory.entries);
  for (std::uint64_t i = 0; i < directory.entries; ++i) entries_.push_back(read_central_header(reader));
  if (reader.position() != directory.end) reader.fail("the zip directory has more bytes than entries");

  std::ranges::sort(entries_, {}, &ZipEntry::name);
  const auto twice = std::ranges::adjacent_find(entries_, {}, &ZipEntry::name);
  if (twice != entries_.end()) reader.fail("zip entry '{}' exists twice", twice->name);
  std::vector<std::pair<std::uint64_t, const ZipEntry*>> starts;
  for (ZipEntry& entry : entries_) {
    starts.emplace_back(entry.offset, &entry);
    skip_local_header(reader, entry, directory.offset);
  }
  // torch.serialization.set_crc32_options(False) writes zeros.
  has_checksums_ = std::ranges::any_of(entries_, [](const ZipEntry& entry) { return entry.crc != 0; });
  check_apart(std::move(starts), reader);
  check_bomb(entries_, reader);
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(entries_, name, {}, &ZipEntry::name);
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

Blob ZipArchive::read(const ZipEntry& entry) const {
  const std::string where = fmt::format("{}: entry '{}'", file_->path().string(), entry.name);
  Blob blob{file_->bytes().subspan(entry.offset, entry.stored_bytes), file_};
  if (entry.deflated) {
    auto buffer = std::make_shared<Tensor>(DType::U8, Shape{static_cast<std::int64_t>(entry.bytes)});
    const std::span<std::byte> target(static_cast<std::byte*>(buffer->data()), entry.bytes);
    if (!inflate_exactly(blob.bytes, target)) {
      throw DataError("{}: the compressed data are damaged or do not unpack to {} bytes", where, entry.bytes);
    }
    blob = {target, std::move(buffer)};
  }
  if (!has_checksums_) return blob;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(blob.bytes.data()), blob.bytes.size());
  if (crc != entry.crc) {
    throw DataError("{}: checksum {:08x} where the directory says {:08x}: the file is damaged", where, crc, entry.crc);
  }
  return blob;
}

}  // namespace medgen
