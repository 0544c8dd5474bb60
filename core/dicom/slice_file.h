// SPDX-License-Identifier: Apache-2.0
// The only door to DCMTK.
#pragma once

#include "core/dicom/slice.h"

#include <functional>

namespace medgen::dicom {

/// The images of a file, without their pixels.
struct FileImages {
  std::string series_uid;     ///< empty for files without image, such as reports and structure sets
  std::vector<Slice> slices;  ///< none when there is a problem
  std::string problem;        ///< why they cannot be part of a volume, with the path
};

/// @throws DataError with the path when not even the header can be read.
FileImages read_images(const std::filesystem::path& file);

/// Calls use(frame, stored pixels) for every frame of a file, in order; the pixels are valid during the call.
/// @param like  a slice of this file. @throws DataError with the path.
void read_frames(const Slice& like, const std::function<void(std::int64_t frame, const void* pixels)>& use);

}  // namespace medgen::dicom
