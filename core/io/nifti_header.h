// SPDX-License-Identifier: Apache-2.0
// The header of a NIfTI file as bytes and as meaning. Only nifti.cpp needs it.
#pragma once

#include "core/io/nifti.h"

#include <nifti2.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace medgen::nifti {

inline constexpr std::size_t kHeader1 = 348;
inline constexpr std::size_t kHeader2 = 540;
inline constexpr std::size_t kNoExtensions = 4;  ///< four zero bytes after the header

/// Fields in this machine's byte order; a NIfTI-1 header is held as the wider NIfTI-2.
struct RawHeader {
  nifti_2_header fields{};
  int version = 1;
  bool other_endian = false;
  std::uint64_t first_voxel = 0;  ///< offset in the file
};

/// Header size in bytes (348 or 540) as the first four bytes tell. @throws DataError when they are no NIfTI header's.
std::size_t header_size(std::span<const std::byte, 4> start);
/// @param bytes as many as header_size says. @throws DataError when the magic is wrong or voxels would start in the
/// header.
RawHeader parse(std::span<const std::byte> bytes);
/// What it means. @throws DataError (without the path), see read_nifti_header.
NiftiHeader interpret(const RawHeader& raw);

/// The bytes before the voxels. @param stored a type that NIfTI knows.
std::vector<std::byte> compose(const Volume& volume, DType stored, const NiftiOptions& options);

}  // namespace medgen::nifti
