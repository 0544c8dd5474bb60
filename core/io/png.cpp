// SPDX-License-Identifier: Apache-2.0
#include "core/io/png.h"

#include "core/base/error.h"
#include "core/base/file.h"

#include <png.h>

#include <algorithm>

namespace medgen {

Picture::Picture(std::size_t columns, std::size_t rows, Rgb colour) : width(columns), height(rows) {
  constexpr std::size_t kMostPixels = std::size_t{1} << 28;
  std::size_t count = 0;
  if (__builtin_mul_overflow(columns, rows, &count) || count == 0 || count > kMostPixels) {
    throw DataError("a picture of {} x {} pixels cannot be drawn (at most {} pixels)", columns, rows, kMostPixels);
  }
  pixels.assign(count, colour);
}

void Picture::paste(const Picture& other, std::size_t x, std::size_t y) {
  if (x >= width || y >= height) return;
  const std::size_t columns = std::min(other.width, width - x);
  for (std::size_t row = 0; row < std::min(other.height, height - y); ++row) {
    std::copy_n(&other.at(0, row), columns, &at(x, y + row));
  }
}

std::string encode_png(const Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = PNG_FORMAT_RGB;
  std::string bytes(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = bytes.size();
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0, nullptr) == 0) {
    throw RuntimeError("the picture cannot be encoded: {}", image.message);
  }
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  write_file(path, encode_png(picture));
}

}  // namespace medgen
