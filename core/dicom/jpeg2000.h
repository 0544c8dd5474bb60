// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/dicom/slice.h"

#include <cstddef>
#include <span>
#include <vector>

namespace medgen::dicom {

/// The samples of a JPEG 2000 codestream (or .jp2) of one component, as 8 or 16 bit words of `format`.
/// @throws DataError with a reason but no path, when it is damaged or not columns x rows.
std::vector<std::byte> decode_jpeg2000(std::span<const std::byte> code, const PixelFormat& format, std::int64_t columns,
                                       std::int64_t rows);

}  // namespace medgen::dicom
