// SPDX-License-Identifier: Apache-2.0
#include "core/io/byte_stream.h"

#include "core/base/error.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

namespace medgen {
namespace {

constexpr std::size_t kBuffer = std::size_t{1} << 18;
constexpr int kGzipWindow = 15 + 16;            // largest window, gzip container
constexpr std::uint64_t kMostExpansion = 1032;  // of deflate, https://zlib.net/zlib_tech.html

const unsigned char* as_zlib(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

unsigned char* as_zlib(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

uInt limited(std::size_t bytes) {
  return static_cast<uInt>(std::min<std::size_t>(bytes, std::numeric_limits<uInt>::max()));
}

}  // namespace

struct ByteSource::Gzip {
  Gzip() { check(::inflateInit2(&stream, kGzipWindow) == Z_OK, "zlib starts"); }

  ~Gzip() { ::inflateEnd(&stream); }

  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  z_stream stream{};
  bool between_members = false;
};

ByteSource::ByteSource(std::filesystem::path path) : file_(std::move(path)), buffer_(kBuffer) {
  const auto start = refill();
  if (start.size() >= 2 && start[0] == std::byte{0x1f} && start[1] == std::byte{0x8b}) gzip_ = std::make_unique<Gzip>();
}

ByteSource::~ByteSource() = default;

std::uint64_t ByteSource::most_bytes() const noexcept {
  const std::uint64_t factor = gzip_ ? kMostExpansion : 1;
  return file_.size() > std::numeric_limits<std::uint64_t>::max() / factor ? std::numeric_limits<std::uint64_t>::max()
                                                                           : file_.size() * factor;
}

std::span<const std::byte> ByteSource::refill() {
  ahead_ = std::span<const std::byte>(buffer_).first(file_.read(buffer_));
  return ahead_;
}

std::size_t ByteSource::read(std::span<std::byte> buffer) {
  if (gzip_) return inflate_into(buffer);
  const std::size_t buffered = std::min(ahead_.size(), buffer.size());
  if (buffered > 0) std::memcpy(buffer.data(), ahead_.data(), buffered);
  ahead_ = ahead_.subspan(buffered);
  return buffered + file_.read(buffer.subspan(buffered));
}

std::uint64_t ByteSource::skip(std::uint64_t bytes) {
  std::vector<std::byte> scratch(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kBuffer)));
  std::uint64_t done = 0;
  while (done < bytes) {
    const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(bytes - done, scratch.size()));
    const std::size_t count = read(std::span(scratch).first(piece));
    if (count == 0) break;
    done += count;
  }
  return done;
}

/// After the end of a gzip member: is there another? Zeros up to the end of the file are padding, as gzip itself sees
/// them.
bool ByteSource::next_member() {
  while (!ahead_.empty() || !refill().empty()) {
    const auto first = std::find_if(ahead_.begin(), ahead_.end(), [](std::byte byte) { return byte != std::byte{0}; });
    const auto zeros = static_cast<std::size_t>(first - ahead_.begin());
    if (zeros == ahead_.size()) {
      ahead_ = {};
      continue;
    }
    if (zeros > 0 || ahead_[0] != std::byte{0x1f}) {
      throw DataError("{}: the gzip data are followed by something else; the file was not written in one piece",
                      path().string());
    }
    check(::inflateReset(&gzip_->stream) == Z_OK, "zlib starts again");
    gzip_->between_members = false;
    return true;
  }
  return false;
}

std::size_t ByteSource::inflate_into(std::span<std::byte> buffer) {
  z_stream& stream = gzip_->stream;
  std::size_t done = 0;
  while (done < buffer.size()) {
    if (gzip_->between_members && !next_member()) break;
    if (ahead_.empty() && refill().empty())
      throw DataError("{}: the gzip data end too early (truncated file)", path().string());
    stream.next_in = const_cast<unsigned char*>(as_zlib(ahead_.data()));
    stream.avail_in = limited(ahead_.size());
    stream.next_out = as_zlib(buffer.data() + done);
    stream.avail_out = limited(buffer.size() - done);
    const uInt room = stream.avail_out;
    const int status = ::inflate(&stream, Z_NO_FLUSH);
    done += room - stream.avail_out;
    ahead_ = ahead_.last(stream.avail_in);
    gzip_->between_members = status == Z_STREAM_END;
    if (status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR) continue;
    const std::string_view message = stream.msg == nullptr ? "unknown" : stream.msg;
    if (message == "incorrect data check")
      throw DataError("{}: the gzip checksum (CRC) is wrong: damaged file", path().string());
    throw DataError("{}: damaged gzip data ({})", path().string(), message);
  }
  return done;
}

struct ByteSink::Gzip {
  explicit Gzip(int level) : buffer(kBuffer) {
    constexpr int kDefaultMemory = 8;
    check(::deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, kDefaultMemory, Z_DEFAULT_STRATEGY) == Z_OK,
          "zlib starts");
  }

  ~Gzip() { ::deflateEnd(&stream); }

  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  z_stream stream{};
  std::vector<std::byte> buffer;
};

ByteSink::ByteSink(std::filesystem::path path, std::optional<int> gzip_level) : file_(std::move(path)) {
  if (gzip_level && (*gzip_level < 0 || *gzip_level > 9))
    throw ConfigError("the gzip level is 0 to 9, not {}", *gzip_level);
  if (gzip_level) gzip_ = std::make_unique<Gzip>(*gzip_level);
}

ByteSink::~ByteSink() = default;

void ByteSink::write(std::span<const std::byte> bytes) {
  if (gzip_) {
    deflate_all(bytes, false);
  } else {
    file_.write(bytes);
  }
}

void ByteSink::commit() {
  if (gzip_) deflate_all({}, true);
  file_.commit();
}

void ByteSink::deflate_all(std::span<const std::byte> bytes, bool finish) {
  z_stream& stream = gzip_->stream;
  int status = Z_OK;
  while (!bytes.empty() || (finish && status != Z_STREAM_END)) {
    const uInt piece = limited(bytes.size());
    stream.next_in = const_cast<unsigned char*>(as_zlib(bytes.data()));
    stream.avail_in = piece;
    stream.next_out = as_zlib(gzip_->buffer.data());
    stream.avail_out = limited(gzip_->buffer.size());
    status = ::deflate(&stream, finish ? Z_FINISH : Z_NO_FLUSH);
    check(status == Z_OK || status == Z_STREAM_END, "zlib compresses");
    bytes = bytes.subspan(piece - stream.avail_in);
    file_.write(std::span(gzip_->buffer).first(gzip_->buffer.size() - stream.avail_out));
  }
}

}  // namespace medgen
