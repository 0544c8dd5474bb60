// SPDX-License-Identifier: Apache-2.0
// From stored bits to values.
#include "core/base/error.h"
#include "core/dicom/slice.h"
#include "core/volume/element.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace medgen::dicom {
namespace {

bool is_whole(double value) {
  return value == std::trunc(value);
}

/// Lowest and highest stored value.
std::pair<double, double> stored_range(const PixelFormat& format) {
  const double half = std::ldexp(1.0, format.bits_stored - 1);
  return format.is_signed ? std::pair{-half, half - 1} : std::pair{0.0, 2 * half - 1};
}

bool fits(DType dtype, double low, double high) {
  return with_element_type(dtype, [=]<typename T>(T) {
    return low >= static_cast<double>(std::numeric_limits<T>::min()) &&
           high <= static_cast<double>(std::numeric_limits<T>::max());
  });
}

/// The stored number without what lies above its bits, sign extended.
template <typename Word>
double stored_value(const PixelFormat& format, Word word) {
  const std::uint32_t mask = (std::uint32_t{1} << format.bits_stored) - 1;
  const auto bits = static_cast<std::int32_t>(word & mask);
  const auto [low, high] = stored_range(format);
  const double value = format.is_signed && bits > high ? bits - std::ldexp(1.0, format.bits_stored) : bits;
  return format.inverted ? low + high - value : value;
}

/// Every stored number's value, once.
template <typename Word, typename T>
void convert(const PixelFormat& format, const Word* stored, std::int64_t count, T* values) {
  std::vector<T> table(std::size_t{1} << (8 * sizeof(Word)));
  for (std::size_t word = 0; word < table.size(); ++word) {
    table[word] = static_cast<T>(stored_value(format, static_cast<Word>(word)) * format.slope + format.intercept);
  }
  for (std::int64_t i = 0; i < count; ++i) values[i] = table[stored[i]];
}

}  // namespace

DType value_type(const std::vector<Slice>& slices) {
  double low = 0, high = 0;
  for (const Slice& slice : slices) {
    const PixelFormat& format = slice.pixels;
    if (!is_whole(format.slope) || !is_whole(format.intercept)) return DType::F32;
    const auto [from, to] = stored_range(format);
    const auto ends = std::minmax({from * format.slope + format.intercept, to * format.slope + format.intercept});
    low = std::min(low, ends.first);
    high = std::max(high, ends.second);
  }
  for (const DType dtype : {DType::U8, DType::I8, DType::I16, DType::U16, DType::I32}) {
    if (fits(dtype, low, high)) return dtype;
  }
  return DType::F32;
}

void convert_pixels(const PixelFormat& format, const void* stored, std::int64_t count, DType dtype, void* values) {
  with_element_type(dtype, [&]<typename T>(T) {
    auto* out = static_cast<T*>(values);
    if (format.bits_allocated == 8) return convert(format, static_cast<const std::uint8_t*>(stored), count, out);
    convert(format, static_cast<const std::uint16_t*>(stored), count, out);
  });
}

}  // namespace medgen::dicom
