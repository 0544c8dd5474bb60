// SPDX-License-Identifier: Apache-2.0
// NIfTI-1 and NIfTI-2 single files (.nii, .nii.gz): https://nifti.nimh.nih.gov/nifti-1,
// https://nifti.nimh.nih.gov/nifti-2
#pragma once

#include "core/volume/volume.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// Where the affine of a NIfTI file comes from.
enum class AffineSource { Sform, Qform, Pixdim };
std::string_view name_of(AffineSource source);

/// What a NIfTI header says, units in mm, frame RAS.
struct NiftiHeader {
  int version = 1;            ///< 1 or 2
  bool other_endian = false;  ///< the file's byte order is not this machine's
  Shape shape;                ///< (z, y, x) or (c, z, y, x)
  DType stored = DType::U8;   ///< element type in the file
  DType dtype = DType::U8;    ///< element type that read_nifti returns
  double scl_slope = 1;       ///< value = stored * scl_slope + scl_inter
  double scl_inter = 0;
  Affine<Ras> affine;
  AffineSource affine_source = AffineSource::Sform;
  int xform_code = 0;       ///< of the form used: 1 scanner, 2 aligned, 3 Talairach, 4 MNI 152; 0 for Pixdim
  int intent_code = 0;      ///< 1002 label, 1007 vector ...
  std::string description;  ///< printable ASCII
  std::vector<std::string> warnings;

  bool is_scaled() const noexcept { return scl_slope != 1 || scl_inter != 0; }
};

struct NiftiFile {
  Volume volume;
  NiftiHeader header;
};

/// The header alone; of a .nii.gz only its beginning is decompressed.
///
/// The affine is the sform when its code is positive, else the qform, else voxel sizes alone (with a warning: the
/// position is unknown). Units of m and um become mm. Trailing axes of length 1 are dropped; a fourth axis, or a fifth
/// after a fourth of length 1 (vector intent), is the channel axis. Odd but usable headers give warnings.
/// @throws DataError with the path for anything else: no NIfTI (or an ANALYZE or .hdr/.img pair), a truncated header,
/// impossible sizes, more voxels than the file can hold, element types other than integers and floats up to 64 bits,
/// values that are not finite, a singular affine.
NiftiHeader read_nifti_header(const std::filesystem::path& path);

/// The whole file. Integers stay integers unless the header scales them: then F32, or F64 from 32-bit integers and
/// more. Voxels are read in place: the volume's own memory and a small buffer is all that is needed.
/// @throws DataError as read_nifti_header; also for missing or surplus data and for damaged gzip data. Never partial
/// results.
NiftiFile read_nifti(const std::filesystem::path& path);

struct NiftiOptions {
  int gzip_level = 4;  ///< 0 to 9, for names that end in .gz
  int version = 0;     ///< 1 or 2; 0 takes 1 where it fits (axes up to 32767)
  int xform_code = 1;  ///< of sform and qform
  int intent_code = 0;
  bool vector_intent = false;  ///< channels as fifth axis with vector intent instead of fourth
};

/// Writes `volume` under `path` (.nii or .nii.gz) completely or not at all. Element types are kept; F16 and BF16 become
/// F32, Bool becomes U8. sform and qform get the same code; the qform is left out (code 0) when it cannot place every
/// voxel to a hundredth of its size, as with sheared axes. NIfTI-1 stores the affine in single precision. The same
/// volume gives the same bytes.
/// @throws DataError for another extension, ConfigError for options that are none, RuntimeError when writing fails.
void write_nifti(const std::filesystem::path& path, const Volume& volume, const NiftiOptions& options = {});

}  // namespace medgen
