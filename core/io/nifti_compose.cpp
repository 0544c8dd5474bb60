// SPDX-License-Identifier: Apache-2.0
// From a volume to the bytes of a NIfTI header.
#include "core/base/error.h"
#include "core/io/nifti_header.h"

#include <nifti1.h>
#include <nifti2_io.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

namespace medgen::nifti {
namespace {

constexpr std::string_view kDescription = "medgen";
constexpr double kFarthestVoxel = 0.01;  // of a voxel, from where the affine puts it

int type_code(DType dtype) {
  switch (dtype) {
    case DType::U8:
      return NIFTI_TYPE_UINT8;
    case DType::I8:
      return NIFTI_TYPE_INT8;
    case DType::U16:
      return NIFTI_TYPE_UINT16;
    case DType::I16:
      return NIFTI_TYPE_INT16;
    case DType::U32:
      return NIFTI_TYPE_UINT32;
    case DType::I32:
      return NIFTI_TYPE_INT32;
    case DType::U64:
      return NIFTI_TYPE_UINT64;
    case DType::I64:
      return NIFTI_TYPE_INT64;
    case DType::F32:
      return NIFTI_TYPE_FLOAT32;
    case DType::F64:
      return NIFTI_TYPE_FLOAT64;
    default:
      break;
  }
  check(false, "a type that NIfTI knows");
  return DT_UNKNOWN;
}

void set_size(nifti_2_header& h, const Volume& volume, bool vector_intent) {
  std::fill(std::begin(h.dim), std::end(h.dim), 1);
  const Size3 size = volume.size();
  std::copy(size.begin(), size.end(), h.dim + 1);
  h.dim[0] = volume.has_channels() ? (vector_intent ? 5 : 4) : 3;
  if (volume.has_channels()) h.dim[h.dim[0]] = volume.channels();
}

/// Quaternion, handedness and offset, rounded as the file will hold them.
void set_quaternion(nifti_2_header& h, const Affine<Ras>& affine, bool single) {
  nifti_dmat44 matrix{};
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t c = 0; c < 4; ++c) matrix.m[r][c] = affine(r, c);
  }
  double b = 0, c = 0, d = 0, x = 0, y = 0, z = 0, dx = 0, dy = 0, dz = 0, handedness = 1;
  ::nifti_dmat44_to_quatern(matrix, &b, &c, &d, &x, &y, &z, &dx, &dy, &dz, &handedness);
  const auto rounded = [single](double value) {
    return single ? static_cast<double>(static_cast<float>(value)) : value;
  };
  h.quatern_b = rounded(b);
  h.quatern_c = rounded(c);
  h.quatern_d = rounded(d);
  h.qoffset_x = rounded(x);
  h.qoffset_y = rounded(y);
  h.qoffset_z = rounded(z);
  h.pixdim[0] = handedness;
}

bool quaternion_places(const nifti_2_header& h, const Geometry& geometry) {
  const nifti_dmat44 matrix =
      ::nifti_quatern_to_dmat44(h.quatern_b, h.quatern_c, h.quatern_d, h.qoffset_x, h.qoffset_y, h.qoffset_z,
                                h.pixdim[1], h.pixdim[2], h.pixdim[3], h.pixdim[0]);
  Matrix4 rows{};
  for (std::size_t i = 0; i < 16; ++i) rows[i] = matrix.m[i / 4][i % 4];
  const Vec3 spacing = geometry.affine.spacing_mm();
  const double apart = largest_difference_mm(geometry, {geometry.size, Affine<Ras>(rows)});
  return apart <= kFarthestVoxel * *std::min_element(spacing.begin(), spacing.end());
}

void set_affine(nifti_2_header& h, const Geometry& geometry, int code, bool single) {
  const Vec3 spacing = geometry.affine.spacing_mm();
  std::fill(std::begin(h.pixdim), std::end(h.pixdim), 1.0);
  for (std::size_t d = 0; d < 3; ++d) h.pixdim[d + 1] = spacing[d];
  for (std::size_t c = 0; c < 4; ++c) {
    h.srow_x[c] = geometry.affine(0, c);
    h.srow_y[c] = geometry.affine(1, c);
    h.srow_z[c] = geometry.affine(2, c);
  }
  h.sform_code = code;
  set_quaternion(h, geometry.affine, single);
  if (quaternion_places(h, geometry)) {
    h.qform_code = code;
  } else {
    h.quatern_b = h.quatern_c = h.quatern_d = 0;
    h.pixdim[0] = 1;
  }
}

nifti_1_header narrowed(const nifti_2_header& h) {
  const auto single = [](double value) { return static_cast<float>(value); };
  nifti_1_header narrow{};
  narrow.sizeof_hdr = static_cast<int>(kHeader1);
  narrow.regular = 'r';
  for (std::size_t i = 0; i < 8; ++i) narrow.dim[i] = static_cast<short>(h.dim[i]);
  std::transform(std::begin(h.pixdim), std::end(h.pixdim), std::begin(narrow.pixdim), single);
  narrow.datatype = h.datatype;
  narrow.bitpix = h.bitpix;
  narrow.vox_offset = single(static_cast<double>(h.vox_offset));
  narrow.scl_slope = single(h.scl_slope);
  narrow.scl_inter = single(h.scl_inter);
  narrow.xyzt_units = static_cast<char>(h.xyzt_units);
  narrow.intent_code = static_cast<short>(h.intent_code);
  std::copy(std::begin(h.descrip), std::end(h.descrip), std::begin(narrow.descrip));
  narrow.qform_code = static_cast<short>(h.qform_code);
  narrow.sform_code = static_cast<short>(h.sform_code);
  narrow.quatern_b = single(h.quatern_b);
  narrow.quatern_c = single(h.quatern_c);
  narrow.quatern_d = single(h.quatern_d);
  narrow.qoffset_x = single(h.qoffset_x);
  narrow.qoffset_y = single(h.qoffset_y);
  narrow.qoffset_z = single(h.qoffset_z);
  std::transform(std::begin(h.srow_x), std::end(h.srow_x), std::begin(narrow.srow_x), single);
  std::transform(std::begin(h.srow_y), std::end(h.srow_y), std::begin(narrow.srow_y), single);
  std::transform(std::begin(h.srow_z), std::end(h.srow_z), std::begin(narrow.srow_z), single);
  std::memcpy(narrow.magic, "n+1", 4);
  return narrow;
}

int chosen_version(const Volume& volume, int wanted) {
  const Shape& shape = volume.voxels().shape();
  const std::int64_t longest = *std::max_element(shape.begin(), shape.end());
  const bool fits = longest <= std::numeric_limits<std::int16_t>::max();
  if (wanted < 0 || wanted > 2) throw ConfigError("the NIfTI version is 1 or 2 (0 chooses), not {}", wanted);
  if (wanted == 1 && !fits)
    throw ConfigError("NIfTI-1 holds axes of up to 32767 voxels, not {}; use version 2", longest);
  return wanted != 0 ? wanted : (fits ? 1 : 2);
}

template <typename Header>
std::vector<std::byte> bytes_of(const Header& header) {
  std::vector<std::byte> bytes(sizeof(header) + kNoExtensions);
  std::memcpy(bytes.data(), &header, sizeof(header));
  return bytes;
}

}  // namespace

std::vector<std::byte> compose(const Volume& volume, DType stored, const NiftiOptions& options) {
  constexpr int kHighestCode = std::numeric_limits<std::int16_t>::max();
  if (options.xform_code < 1 || options.xform_code > 5)
    throw ConfigError("the xform code is 1 to 5, not {}", options.xform_code);
  if (options.intent_code < 0 || options.intent_code > kHighestCode) {
    throw ConfigError("the intent code is 0 to {}, not {}", kHighestCode, options.intent_code);
  }
  const bool single = chosen_version(volume, options.version) == 1;
  const bool vector = options.vector_intent && volume.has_channels();
  nifti_2_header h{};
  h.sizeof_hdr = static_cast<int>(kHeader2);
  std::memcpy(h.magic, "n+2\0\r\n\032\n", 8);
  set_size(h, volume, vector);
  set_affine(h, volume.geometry(), options.xform_code, single);
  h.datatype = static_cast<std::int16_t>(type_code(stored));
  h.bitpix = static_cast<std::int16_t>(8 * size_of(stored));
  h.vox_offset = static_cast<std::int64_t>((single ? kHeader1 : kHeader2) + kNoExtensions);
  h.scl_slope = 1;
  h.xyzt_units = NIFTI_UNITS_MM;
  h.intent_code = vector ? NIFTI_INTENT_VECTOR : options.intent_code;
  std::copy(kDescription.begin(), kDescription.end(), h.descrip);
  return single ? bytes_of(narrowed(h)) : bytes_of(h);
}

}  // namespace medgen::nifti
