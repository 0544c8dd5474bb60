// SPDX-License-Identifier: Apache-2.0
// One image of a DICOM file, as its header describes it, and the way from many of them to one grid. No DCMTK here.
#pragma once

#include "core/tensor/tensor.h"
#include "core/volume/geometry.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace medgen::dicom {

/// How stored bits become values.
struct PixelFormat {
  int bits_allocated = 16;  ///< 8 or 16
  int bits_stored = 16;     ///< the lowest of the allocated; above them may be overlays
  bool is_signed = false;
  bool inverted = false;  ///< MONOCHROME1 without unit: the highest stored value is the darkest
  double slope = 1;
  double intercept = 0;

  friend bool operator==(const PixelFormat&, const PixelFormat&) = default;
};

struct Slice {
  std::filesystem::path file;
  std::int64_t frame = 0;  ///< in its file
  std::string series_uid;
  std::string modality;
  std::string description;
  std::int64_t columns = 0;
  std::int64_t rows = 0;
  Vec3 row_direction{};     ///< of growing column index, LPS
  Vec3 column_direction{};  ///< of growing row index, LPS
  Vec3 position_mm{};       ///< centre of the first pixel, LPS
  double row_spacing_mm = 0;
  double column_spacing_mm = 0;
  std::optional<double> thickness_mm;  ///< distance to the next slice, or else thickness; for a single slice
  PixelFormat pixels;
};

/// "scan/IM3.dcm", with the number of the frame in a file of several.
std::string where(const Slice& slice);

/// Values without a fraction, and within [low, high], fit into the smallest integer type; others need F32.
DType value_type(const std::vector<Slice>& slices);

struct Stack {
  std::vector<Slice> slices;  ///< along the normal, right-handed
  Geometry geometry;
  std::vector<std::string> warnings;
};

/// Sorts the slices of one series by position and finds their grid. @throws DataError when they are not one regular
/// volume, naming the files.
Stack stack(std::vector<Slice> slices);

/// Values of one frame of stored pixels, written as `dtype`. @param stored  little endian, rows x columns.
void convert_pixels(const PixelFormat& format, const void* stored, std::int64_t count, DType dtype, void* values);

}  // namespace medgen::dicom
