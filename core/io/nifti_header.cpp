// SPDX-License-Identifier: Apache-2.0
#include "core/io/nifti_header.h"

#include "core/base/error.h"
#include "core/volume/axis_order.h"

#include <nifti1.h>
#include <nifti2_io.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

namespace medgen::nifti {
namespace {

static_assert(sizeof(nifti_1_header) == kHeader1 && sizeof(nifti_2_header) == kHeader2);

constexpr char kMagic1[4] = {'n', '+', '1', '\0'};
constexpr char kMagic1Pair[4] = {'n', 'i', '1', '\0'};
constexpr char kMagic2[8] = {'n', '+', '2', '\0', '\r', '\n', '\032', '\n'};
constexpr char kMagic2Pair[8] = {'n', 'i', '2', '\0', '\r', '\n', '\032', '\n'};

struct TypeRow {
  int code;
  DType dtype;
};

constexpr std::array<TypeRow, 10> kTypes{{
    {NIFTI_TYPE_UINT8, DType::U8},
    {NIFTI_TYPE_INT8, DType::I8},
    {NIFTI_TYPE_UINT16, DType::U16},
    {NIFTI_TYPE_INT16, DType::I16},
    {NIFTI_TYPE_UINT32, DType::U32},
    {NIFTI_TYPE_INT32, DType::I32},
    {NIFTI_TYPE_UINT64, DType::U64},
    {NIFTI_TYPE_INT64, DType::I64},
    {NIFTI_TYPE_FLOAT32, DType::F32},
    {NIFTI_TYPE_FLOAT64, DType::F64},
}};

std::string_view name_of_other_type(int code) {
  switch (code) {
    case DT_BINARY:
      return "1-bit";
    case NIFTI_TYPE_COMPLEX64:
      return "complex64";
    case NIFTI_TYPE_RGB24:
      return "RGB24";
    case NIFTI_TYPE_FLOAT128:
      return "float128";
    case NIFTI_TYPE_COMPLEX128:
      return "complex128";
    case NIFTI_TYPE_COMPLEX256:
      return "complex256";
    case NIFTI_TYPE_RGBA32:
      return "RGBA32";
    default:
      return "unknown";
  }
}

DType stored_type(int code) {
  for (const TypeRow& row : kTypes) {
    if (row.code == code) return row.dtype;
  }
  throw DataError("voxels of {} type (NIfTI datatype {}) are not supported; integers and floats of 8 to 64 bits are",
                  name_of_other_type(code), code);
}

/// Field by field, since the names are the same and only the widths differ.
nifti_2_header widened(const nifti_1_header& h) {
  nifti_2_header wide{};
  wide.sizeof_hdr = h.sizeof_hdr;
  wide.datatype = h.datatype;
  wide.bitpix = h.bitpix;
  std::copy(std::begin(h.dim), std::end(h.dim), std::begin(wide.dim));
  std::copy(std::begin(h.pixdim), std::end(h.pixdim), std::begin(wide.pixdim));
  wide.scl_slope = h.scl_slope;
  wide.scl_inter = h.scl_inter;
  std::copy(std::begin(h.descrip), std::end(h.descrip), std::begin(wide.descrip));
  wide.qform_code = h.qform_code;
  wide.sform_code = h.sform_code;
  wide.quatern_b = h.quatern_b;
  wide.quatern_c = h.quatern_c;
  wide.quatern_d = h.quatern_d;
  wide.qoffset_x = h.qoffset_x;
  wide.qoffset_y = h.qoffset_y;
  wide.qoffset_z = h.qoffset_z;
  std::copy(std::begin(h.srow_x), std::end(h.srow_x), std::begin(wide.srow_x));
  std::copy(std::begin(h.srow_y), std::end(h.srow_y), std::begin(wide.srow_y));
  std::copy(std::begin(h.srow_z), std::end(h.srow_z), std::begin(wide.srow_z));
  wide.xyzt_units = h.xyzt_units;
  wide.intent_code = h.intent_code;
  return wide;
}

template <std::size_t N>
bool magic_is(const char (&magic)[N], const char* bytes) {
  return std::memcmp(magic, bytes, N) == 0;
}

void check_magic(bool single, bool pair) {
  if (single) return;
  if (pair) throw DataError("is the header of a .hdr/.img pair; convert the pair to a single .nii file");
  throw DataError("is no NIfTI file: the magic is missing (ANALYZE 7.5 is not supported)");
}

/// NIfTI-1 keeps the offset of the first voxel in a float.
std::uint64_t first_voxel(double offset, std::size_t header) {
  constexpr double kFarthest = 0x1p53;
  const std::size_t least = header + kNoExtensions;
  if (offset == 0) return least;  // "not set", which several writers leave there
  if (!(offset >= static_cast<double>(least)) || offset > kFarthest || offset != std::trunc(offset)) {
    throw DataError("the voxels start at byte {:g} (vox_offset); it must be a whole number of {} or more", offset,
                    least);
  }
  return static_cast<std::uint64_t>(offset);
}

}  // namespace

std::size_t header_size(std::span<const std::byte, 4> start) {
  std::int32_t size = 0;
  std::memcpy(&size, start.data(), sizeof(size));
  for (const std::int32_t value :
       {size, static_cast<std::int32_t>(__builtin_bswap32(static_cast<std::uint32_t>(size)))}) {
    if (value == static_cast<std::int32_t>(kHeader1) || value == static_cast<std::int32_t>(kHeader2)) {
      return static_cast<std::size_t>(value);
    }
  }
  throw DataError("is no NIfTI file: it starts with {}, not with the header size 348 or 540", size);
}

RawHeader parse(std::span<const std::byte> bytes) {
  RawHeader raw;
  if (bytes.size() == kHeader1) {
    nifti_1_header header{};
    std::memcpy(&header, bytes.data(), kHeader1);
    check_magic(magic_is(kMagic1, header.magic), magic_is(kMagic1Pair, header.magic));
    raw.other_endian = header.sizeof_hdr != static_cast<int>(kHeader1);
    if (raw.other_endian) ::nifti_swap_as_nifti1(&header);
    raw.fields = widened(header);
    raw.first_voxel = first_voxel(header.vox_offset, kHeader1);
    return raw;
  }
  check(bytes.size() == kHeader2, "a NIfTI header has 348 or 540 bytes");
  raw.version = 2;
  std::memcpy(&raw.fields, bytes.data(), kHeader2);
  check_magic(magic_is(kMagic2, raw.fields.magic), magic_is(kMagic2Pair, raw.fields.magic));
  raw.other_endian = raw.fields.sizeof_hdr != static_cast<int>(kHeader2);
  if (raw.other_endian) ::nifti_swap_as_nifti2(&raw.fields);
  raw.first_voxel = first_voxel(static_cast<double>(raw.fields.vox_offset), kHeader2);
  return raw;
}

namespace {

/// (z, y, x) or (c, z, y, x) of the axes dim[1..].
Shape shape_of(const nifti_2_header& h) {
  const std::int64_t axes = h.dim[0];
  if (axes < 1 || axes > 7) throw DataError("the header has {} axes (dim[0]); 3 to 5 are supported", axes);
  std::vector<std::int64_t> size;
  for (std::int64_t d = 1; d <= axes; ++d) size.push_back(h.dim[d]);
  const std::string written = fmt::format("{}", fmt::join(size, " x "));
  for (const std::int64_t length : size) {
    if (length < 1) throw DataError("the size is {} voxels (dim); every axis must have at least one", written);
  }
  while (size.size() > 3 && size.back() == 1) size.pop_back();
  if (size.size() < 3) throw DataError("is an image of {} axes ({}); volumes have 3", size.size(), written);
  const bool vector = size.size() == 5 && size[3] == 1;
  if (size.size() > 4 && !vector)
    throw DataError("the size is {}; only one axis beside x, y, z may be longer than 1", written);
  const Size3 xyz = {size[0], size[1], size[2]};
  return size.size() == 3 ? zyx_of(xyz) : zyx_of(Shape{size.back()}, xyz);
}

/// Factor from the file's unit of length to mm.
double unit_mm(const nifti_2_header& h, std::vector<std::string>& warnings) {
  constexpr int kSpace = 0x07;
  switch (h.xyzt_units & kSpace) {
    case NIFTI_UNITS_METER:
      return 1000.0;
    case NIFTI_UNITS_MICRON:
      return 0.001;
    case NIFTI_UNITS_MM:
    case NIFTI_UNITS_UNKNOWN:
      return 1.0;
    default:
      break;
  }
  warnings.push_back(fmt::format("unknown unit of length {} (xyzt_units); millimetres assumed", h.xyzt_units & kSpace));
  return 1.0;
}

Vec3 voxel_sizes(const nifti_2_header& h, std::vector<std::string>& warnings) {
  Vec3 sizes{};
  for (std::size_t d = 0; d < 3; ++d) {
    const double size = h.pixdim[d + 1];
    if (!std::isfinite(size) || size == 0)
      throw DataError("the voxel size along axis {} is {:g} (pixdim)", d + 1, size);
    if (size < 0) {
      warnings.push_back(
          fmt::format("the voxel size along axis {} is negative, {:g} (pixdim); its sign is ignored", d + 1, size));
    }
    sizes[d] = std::fabs(size);
  }
  return sizes;
}

Matrix4 in_mm(Matrix4 rows, double unit) {
  for (std::size_t i = 0; i < 12; ++i) rows[i] *= unit;
  return rows;
}

Affine<Ras> sform_of(const nifti_2_header& h, double unit) {
  Matrix4 rows = geometry::kIdentity;
  for (std::size_t c = 0; c < 4; ++c) {
    rows[c] = h.srow_x[c];
    rows[4 + c] = h.srow_y[c];
    rows[8 + c] = h.srow_z[c];
  }
  return Affine<Ras>(in_mm(rows, unit));
}

Matrix4 rows_of(const nifti_dmat44& matrix) {
  Matrix4 rows{};
  for (std::size_t r = 0; r < 4; ++r) {
    for (std::size_t c = 0; c < 4; ++c) rows[4 * r + c] = matrix.m[r][c];
  }
  return rows;
}

Affine<Ras> qform_of(const nifti_2_header& h, double unit, std::vector<std::string>& warnings) {
  constexpr double kRounding = 1e-4;
  const double b = h.quatern_b, c = h.quatern_c, d = h.quatern_d;
  const double length = b * b + c * c + d * d;
  if (!(length <= 1 + kRounding)) {
    throw DataError("the qform's quaternion ({:g}, {:g}, {:g}) is no rotation", b, c, d);
  }
  const Vec3 sizes = voxel_sizes(h, warnings);
  const double handedness = h.pixdim[0] < 0 ? -1.0 : 1.0;
  const nifti_dmat44 matrix = ::nifti_quatern_to_dmat44(b, c, d, h.qoffset_x, h.qoffset_y, h.qoffset_z, sizes[0],
                                                        sizes[1], sizes[2], handedness);
  return Affine<Ras>(in_mm(rows_of(matrix), unit));
}

/// The qform when it is there and means something.
std::optional<Affine<Ras>> usable_qform(const nifti_2_header& h, double unit) {
  std::vector<std::string> ignored;
  try {
    return h.qform_code > 0 ? std::optional(qform_of(h, unit, ignored)) : std::nullopt;
  } catch (const DataError&) {
    return std::nullopt;
  }
}

void warn_of_disagreement(const nifti_2_header& h, double unit, NiftiHeader& header) {
  constexpr double kVoxels = 0.1;
  const auto qform = usable_qform(h, unit);
  if (!qform) return;
  const Size3 size = xyz_of(header.shape);
  const double apart = largest_difference_mm({size, header.affine}, {size, *qform});
  const Vec3 spacing = header.affine.spacing_mm();
  if (apart <= kVoxels * *std::min_element(spacing.begin(), spacing.end())) return;
  header.warnings.push_back(fmt::format("sform and qform disagree by up to {:.3g} mm; the sform is used", apart));
}

void interpret_affine(const nifti_2_header& h, NiftiHeader& header) {
  const double unit = unit_mm(h, header.warnings);
  if (h.sform_code > 0) {
    header.affine = sform_of(h, unit);
    header.affine_source = AffineSource::Sform;
    header.xform_code = h.sform_code;
    warn_of_disagreement(h, unit, header);
  } else if (h.qform_code > 0) {
    header.affine = qform_of(h, unit, header.warnings);
    header.affine_source = AffineSource::Qform;
    header.xform_code = h.qform_code;
  } else {
    Vec3 spacing = voxel_sizes(h, header.warnings);
    for (double& size : spacing) size *= unit;
    header.affine = Affine<Ras>::from_spacing(spacing);
    header.affine_source = AffineSource::Pixdim;
    header.warnings.push_back(
        "neither sform nor qform is set: orientation and position are unknown, RAS from the origin assumed");
  }
}

/// A slope of 0 or NaN means "not scaled" (NIfTI-1 and common writers).
void interpret_scaling(const nifti_2_header& h, NiftiHeader& header) {
  const double slope = h.scl_slope;
  const double inter = h.scl_inter;
  if (slope != 0 && !std::isnan(slope)) {
    if (!std::isfinite(slope) || !std::isfinite(inter)) {
      throw DataError("the intensity scale is {:g} * value + {:g} (scl_slope, scl_inter)", slope, inter);
    }
    header.scl_slope = slope;
    header.scl_inter = inter;
  }
  header.dtype = header.stored;
  if (!header.is_scaled()) return;
  const bool single_is_enough = size_of(header.stored) <= 2 || header.stored == DType::F32;
  header.dtype = single_is_enough ? DType::F32 : DType::F64;
}

std::string printable(std::span<const char> field) {
  const std::string text(field.begin(), std::find(field.begin(), field.end(), '\0'));
  std::string result;
  for (const char c : text) result += c >= ' ' && c <= '~' ? c : '?';
  return result;
}

}  // namespace

NiftiHeader interpret(const RawHeader& raw) {
  const nifti_2_header& h = raw.fields;
  NiftiHeader header;
  header.version = raw.version;
  header.other_endian = raw.other_endian;
  header.shape = shape_of(h);
  header.stored = stored_type(h.datatype);
  header.intent_code = h.intent_code;
  header.description = printable(h.descrip);
  interpret_scaling(h, header);
  interpret_affine(h, header);
  const int bits = h.bitpix;
  if (bits != 0 && bits != static_cast<int>(8 * size_of(header.stored))) {  // 0: several writers leave it out
    throw DataError("the header says {} bits a voxel (bitpix), but its voxels are {} (datatype {})", bits,
                    name_of(header.stored), h.datatype);
  }
  return header;
}

}  // namespace medgen::nifti
