// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace medgen {

using Rgb = std::array<std::uint8_t, 3>;

/// A picture, rows from the top.
struct Picture {
  std::size_t width = 0;
  std::size_t height = 0;
  std::vector<Rgb> pixels;

  /// @throws DataError for a picture without pixels or with more than 2^28.
  Picture(std::size_t columns, std::size_t rows, Rgb colour);

  Rgb& at(std::size_t x, std::size_t y) { return pixels[y * width + x]; }

  const Rgb& at(std::size_t x, std::size_t y) const { return pixels[y * width + x]; }

  /// `other` with its upper left corner at (x, y); what lies beyond the border is left out.
  void paste(const Picture& other, std::size_t x, std::size_t y);
};

/// An 8-bit RGB PNG file in memory. @throws RuntimeError when there is no memory for it.
std::string encode_png(const Picture& picture);

/// The same as a file, completely or not at all. @throws RuntimeError when writing fails.
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace medgen
