// SPDX-License-Identifier: Apache-2.0
#include "core/io/nifti.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/io/byte_stream.h"
#include "core/io/test_folder.h"

#include <nifti1.h>
#include <nifti2_io.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Matrix3 rotation(double ax, double ay, double az) {
  const double cx = std::cos(ax), sx = std::sin(ax), cy = std::cos(ay), sy = std::sin(ay), cz = std::cos(az),
               sz = std::sin(az);
  return {{{cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz},
           {cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz},
           {-sy, sx * cy, cx * cy}}};
}

Affine<Ras> oblique() {
  return Affine<Ras>::from_parts(rotation(0.3, -0.2, 0.4), {0.75, 1.25, 2.5}, {-91.25, 126.5, -72.0});
}

Volume counting(DType dtype, Shape shape = {3, 4, 5}, const Affine<Ras>& affine = oblique()) {
  std::vector<float> values(static_cast<std::size_t>(element_count(shape)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 100);
  return Volume(Tensor::from<float>(values, std::move(shape)).to(dtype), affine);
}

bool same_voxels(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

double farthest(const Affine<Ras>& a, const Affine<Ras>& b) {
  double most = 0;
  for (std::size_t i = 0; i < 16; ++i) most = std::max(most, std::fabs(a.rows()[i] - b.rows()[i]));
  return most;
}

/// A NIfTI-1 file whose header `change` has touched, in the given byte order.
fs::path odd_file(const TestFolder& folder, const std::function<void(nifti_1_header&)>& change, bool swapped = false,
                  const Volume& volume = counting(DType::I16)) {
  const fs::path path = folder.path / "odd.nii";
  write_nifti(path, volume);
  std::string bytes = read_file(path, 1 << 24);
  nifti_1_header header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  change(header);
  if (swapped) {
    ::nifti_swap_as_nifti1(&header);
    for (std::size_t i = 352; i + 1 < bytes.size(); i += 2) std::swap(bytes[i], bytes[i + 1]);
  }
  std::memcpy(bytes.data(), &header, sizeof(header));
  write_file(path, bytes);
  return path;
}

TEST_CASE("nifti: every element type comes back bit for bit, plain and compressed, version 1 and 2", "[unit][io]") {
  const TestFolder folder;
  const DType dtype = GENERATE(DType::U8, DType::I8, DType::U16, DType::I16, DType::U32, DType::I32, DType::U64,
                               DType::I64, DType::F32, DType::F64);
  const int version = GENERATE(1, 2);
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    const Volume volume = counting(dtype);
    NiftiOptions options;
    options.version = version;
    write_nifti(folder.path / name, volume, options);
    const NiftiFile file = read_nifti(folder.path / name);
    REQUIRE(same_voxels(file.volume.voxels(), volume.voxels()));
    REQUIRE(file.header.version == version);
    REQUIRE(file.header.description == "medgen");
    REQUIRE(file.header.warnings.empty());
    REQUIRE(farthest(file.volume.affine(), volume.affine()) < 1e-6);
  }
}

TEST_CASE("nifti: bool is written as U8 and half-floats as F32", "[unit][io]") {
  const TestFolder folder;
  const fs::path path = folder.path / "a.nii";
  write_nifti(path, counting(DType::Bool));
  REQUIRE(same_voxels(read_nifti(path).volume.voxels(), counting(DType::Bool).voxels().to(DType::U8)));
  for (const DType half : {DType::F16, DType::BF16}) {
    write_nifti(path, counting(half));
    REQUIRE(same_voxels(read_nifti(path).volume.voxels(), counting(DType::F32).voxels()));
  }
}

TEST_CASE("nifti: the affine of all 48 orientations and of oblique grids comes back to 1e-6, with the voxels",
          "[unit][io]") {
  const TestFolder folder;
  const fs::path path = folder.path / "a.nii";
  std::array<std::size_t, 3> order{0, 1, 2};
  constexpr std::array<std::string_view, 3> kPairs = {"RL", "AP", "SI"};
  do {
    for (unsigned signs = 0; signs < 8; ++signs) {
      std::string code;
      for (std::size_t d = 0; d < 3; ++d) code += kPairs[order[d]][signs >> d & 1u];
      const Volume volume = reorient(counting(DType::I16), code);
      write_nifti(path, volume);
      const NiftiFile file = read_nifti(path);
      // The origins are sums of oblique steps here: single precision rounds them at 1e-5.
      REQUIRE(farthest(file.volume.affine(), volume.affine()) < 8e-6);
      REQUIRE(file.volume.orientation() == code);
      REQUIRE(same_voxels(file.volume.voxels(), volume.voxels()));
      write_nifti(path, file.volume);
      REQUIRE(read_nifti_header(path).affine == file.volume.affine());
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("nifti: sform and qform carry the same code and the same place", "[unit][io]") {
  const TestFolder folder;
  NiftiOptions options;
  options.xform_code = 2;
  options.version = 2;
  const Volume volume = reorient(counting(DType::U8), "LPI");
  write_nifti(folder.path / "a.nii", volume, options);
  std::string bytes = read_file(folder.path / "a.nii", 1 << 20);
  nifti_2_header header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  REQUIRE(header.sform_code + 0 == 2);
  REQUIRE(header.qform_code + 0 == 2);
  header.sform_code = 0;
  std::memcpy(bytes.data(), &header, sizeof(header));
  write_file(folder.path / "a.nii", bytes);
  const NiftiHeader read = read_nifti_header(folder.path / "a.nii");
  REQUIRE(read.affine_source == AffineSource::Qform);
  REQUIRE(farthest(read.affine, volume.affine()) < 1e-6);
}

TEST_CASE("nifti: a sheared affine is kept in the sform and the qform is left out", "[unit][io]") {
  const TestFolder folder;
  const Affine<Ras> sheared({1, 0.25, 0, 10, 0, 1, 0, 20, 0, 0, 2, 30, 0, 0, 0, 1});
  write_nifti(folder.path / "a.nii", counting(DType::U8, {3, 4, 5}, sheared));
  const std::string bytes = read_file(folder.path / "a.nii", 1 << 20);
  nifti_1_header header{};
  std::memcpy(&header, bytes.data(), sizeof(header));
  REQUIRE(header.qform_code == 0);
  REQUIRE(header.sform_code == 1);
  REQUIRE(read_nifti_header(folder.path / "a.nii").affine == sheared);
}

TEST_CASE("nifti: channels come back from a fourth axis and from vector intent", "[unit][io]") {
  const TestFolder folder;
  const Volume volume = counting(DType::F32, {2, 3, 4, 5});
  NiftiOptions options;
  options.vector_intent = GENERATE(false, true);
  write_nifti(folder.path / "a.nii.gz", volume, options);
  const NiftiFile file = read_nifti(folder.path / "a.nii.gz");
  REQUIRE(same_voxels(file.volume.voxels(), volume.voxels()));
  REQUIRE(file.header.intent_code == (options.vector_intent ? 1007 : 0));
}

TEST_CASE("nifti: trailing axes of length one are no channels", "[unit][io]") {
  const TestFolder folder;
  const fs::path path = odd_file(folder, [](nifti_1_header& h) { h.dim[0] = 5; });
  REQUIRE(read_nifti(path).volume.voxels().shape() == Shape{3, 4, 5});
}

TEST_CASE("nifti: the other byte order gives the same volume", "[unit][io]") {
  const TestFolder folder;
  const NiftiFile file = read_nifti(odd_file(
      folder, [](nifti_1_header&) {}, true));
  REQUIRE(file.header.other_endian);
  REQUIRE(same_voxels(file.volume.voxels(), counting(DType::I16).voxels()));
  REQUIRE(farthest(file.volume.affine(), oblique()) < 1e-6);
}

TEST_CASE("nifti: a scale makes floats, no scale and a slope of 0 or NaN keep integers", "[unit][io]") {
  const TestFolder folder;
  for (const double slope : {0.0, 1.0, kNan}) {
    const fs::path path = odd_file(folder, [slope](nifti_1_header& h) { h.scl_slope = static_cast<float>(slope); });
    REQUIRE(read_nifti(path).volume.dtype() == DType::I16);
  }
  const auto scale = [](nifti_1_header& h) {
    h.scl_slope = 0.5F;
    h.scl_inter = -10;
  };
  for (const bool swapped : {false, true}) {
    const NiftiFile file = read_nifti(odd_file(folder, scale, swapped));
    REQUIRE(file.volume.dtype() == DType::F32);
    REQUIRE(file.header.stored == DType::I16);
    REQUIRE(file.volume.voxels().values<float>()[59] == 19.5F);
  }
  const NiftiFile wide = read_nifti(odd_file(folder, scale, false, counting(DType::I32)));
  REQUIRE(wide.volume.voxels().values<double>()[59] == 19.5);
}

TEST_CASE("nifti: a scaled volume larger than the buffer is scaled everywhere", "[unit][io]") {
  const TestFolder folder;
  const Volume volume = counting(DType::U8, {130, 130, 130});
  const NiftiFile file = read_nifti(odd_file(
      folder, [](nifti_1_header& h) { h.scl_inter = 1; }, false, volume));
  const auto values = file.volume.voxels().values<float>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<float>(i % 100) + 1) FAIL("voxel " << i << " is " << values[i]);
  }
}

TEST_CASE("nifti: without forms the voxel sizes count, flips of pixdim and units are handled, with warnings",
          "[unit][io]") {
  const TestFolder folder;
  const auto no_forms = [](nifti_1_header& h) { h.sform_code = h.qform_code = 0; };
  const NiftiHeader plain = read_nifti_header(odd_file(folder, no_forms));
  REQUIRE(plain.affine_source == AffineSource::Pixdim);
  REQUIRE(plain.affine == Affine<Ras>::from_spacing({0.75, 1.25, 2.5}));
  REQUIRE(plain.warnings.size() == 1);
  const NiftiHeader flipped = read_nifti_header(odd_file(folder, [&](nifti_1_header& h) {
    no_forms(h);
    h.pixdim[1] = -h.pixdim[1];
    h.xyzt_units = NIFTI_UNITS_METER;
  }));
  REQUIRE(flipped.affine == Affine<Ras>::from_spacing({750, 1250, 2500}));
  REQUIRE(flipped.warnings.size() == 2);
  const NiftiHeader micron =
      read_nifti_header(odd_file(folder, [](nifti_1_header& h) { h.xyzt_units = NIFTI_UNITS_MICRON; }));
  REQUIRE(micron.affine.origin()[1] == Approx(0.1265));
}

TEST_CASE("nifti: forms that disagree are reported and the sform counts", "[unit][io]") {
  const TestFolder folder;
  const NiftiHeader header = read_nifti_header(odd_file(folder, [](nifti_1_header& h) { h.qoffset_x += 5; }));
  REQUIRE(header.affine_source == AffineSource::Sform);
  REQUIRE_THAT(header.warnings.at(0), Catch::Contains("disagree by up to 5 mm"));
  REQUIRE(farthest(header.affine, oblique()) < 1e-6);
}

TEST_CASE("nifti: an unusable header is refused with the path and the reason", "[unit][io]") {
  struct Row {
    std::function<void(nifti_1_header&)> change;
    const char* reason;
  };

  const float nan = static_cast<float>(kNan);
  const std::vector<Row> rows = {
      {[](nifti_1_header& h) { h.sizeof_hdr = 123; }, "no NIfTI file"},
      {[](nifti_1_header& h) { h.magic[0] = 'x'; }, "ANALYZE"},
      {[](nifti_1_header& h) { std::memcpy(h.magic, "ni1", 4); }, ".hdr/.img pair"},
      {[](nifti_1_header& h) { h.dim[0] = 0; }, "dim[0]"},
      {[](nifti_1_header& h) { h.dim[0] = 8; }, "dim[0]"},
      {[](nifti_1_header& h) { h.dim[0] = 2; }, "2 axes"},
      {[](nifti_1_header& h) { h.dim[1] = 0; }, "at least one"},
      {[](nifti_1_header& h) { h.dim[3] = -3; }, "-3"},
      {[](nifti_1_header& h) { std::fill(h.dim, h.dim + 8, short{7}); }, "only one axis"},
      {[](nifti_1_header& h) { std::fill(h.dim + 1, h.dim + 4, short{32767}); }, "more than the file can hold"},
      {[](nifti_1_header& h) { h.dim[3] = 4; }, "more than the file can hold"},
      {[](nifti_1_header& h) { h.dim[3] = 2; }, "more data follow"},
      {[](nifti_1_header& h) { h.datatype = 128; }, "RGB24"},
      {[](nifti_1_header& h) { h.datatype = 32; }, "complex64"},
      {[](nifti_1_header& h) { h.datatype = 999; }, "unknown type (NIfTI datatype 999)"},
      {[nan](nifti_1_header& h) { h.srow_y[1] = nan; }, "not finite"},
      {[](nifti_1_header& h) { std::copy(h.srow_y, h.srow_y + 4, h.srow_x); }, "singular"},
      {[](nifti_1_header& h) { std::fill(h.srow_x, h.srow_x + 4, 0.0F); }, "singular"},
      {[](nifti_1_header& h) { h.sform_code = 0, h.quatern_b = 3; }, "no rotation"},
      {[nan](nifti_1_header& h) { h.sform_code = 0, h.quatern_b = nan; }, "no rotation"},
      {[](nifti_1_header& h) { h.sform_code = 0, h.pixdim[2] = 0; }, "voxel size along axis 2 is 0"},
      {[nan](nifti_1_header& h) { h.sform_code = h.qform_code = 0, h.pixdim[3] = nan; }, "voxel size along axis 3"},
      {[](nifti_1_header& h) { h.vox_offset = 100; }, "vox_offset"},
      {[nan](nifti_1_header& h) { h.vox_offset = nan; }, "vox_offset"},
      {[](nifti_1_header& h) { h.vox_offset = 1e30F; }, "vox_offset"},
      {[](nifti_1_header& h) { h.vox_offset = 4000; }, "more than the file can hold"},
      {[](nifti_1_header& h) { h.scl_slope = std::numeric_limits<float>::infinity(); }, "scl_slope"},
      {[nan](nifti_1_header& h) { h.scl_slope = 2, h.scl_inter = nan; }, "scl_slope"},
  };
  const TestFolder folder;
  for (const Row& row : rows) {
    const fs::path path = odd_file(folder, row.change);
    CAPTURE(row.reason);
    REQUIRE_THROWS_WITH(read_nifti(path), Catch::StartsWith(path.string() + ": ") && Catch::Contains(row.reason));
  }
}

TEST_CASE("nifti: a file cut anywhere is refused, plain or compressed", "[unit][io]") {
  const TestFolder folder;
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    const fs::path path = folder.path / name;
    write_nifti(path, counting(DType::U8));
    const std::string bytes = read_file(path, 1 << 20);
    for (std::size_t size = 0; size < bytes.size(); size += size < 20 ? 1 : 7) {
      write_file(path, bytes.substr(0, size));
      REQUIRE_THROWS_AS(read_nifti(path), DataError);
    }
    write_file(path, bytes);
    REQUIRE_NOTHROW(read_nifti(path));
  }
}

TEST_CASE("nifti: no flipped byte crashes or hangs, and none in gzip data changes a voxel unseen", "[unit][io]") {
  const TestFolder folder;
  const fs::path plain = folder.path / "a.nii";
  const fs::path packed = folder.path / "a.nii.gz";
  write_nifti(plain, counting(DType::U8));
  write_nifti(packed, counting(DType::U8));
  const std::string header = read_file(plain, 1 << 20);
  for (std::size_t i = 0; i < 352; ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string bytes = header;
      bytes[i] = static_cast<char>(bytes[i] ^ flip);
      write_file(plain, bytes);
      try {
        const NiftiFile file = read_nifti(plain);
        REQUIRE(file.volume.voxels().size() == 60);
      } catch (const DataError&) {
      }
    }
  }
  const std::string gzip = read_file(packed, 1 << 20);
  for (std::size_t i = 10; i < gzip.size(); ++i) {
    std::string bytes = gzip;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    write_file(packed, bytes);
    try {
      // A bit that only pads the last byte of the compressed data may change.
      const NiftiFile file = read_nifti(packed);
      REQUIRE(same_voxels(file.volume.voxels(), counting(DType::U8).voxels()));
    } catch (const DataError&) {
    }
  }
}

TEST_CASE("nifti: data behind the gzip data or behind the voxels, and a wrong checksum, are named", "[unit][io]") {
  const TestFolder folder;
  const fs::path path = folder.path / "a.nii.gz";
  write_nifti(path, counting(DType::U8));
  const std::string bytes = read_file(path, 1 << 20);
  write_file(path, bytes + "garbage");
  REQUIRE_THROWS_WITH(read_nifti(path), Catch::Contains("followed by something else"));
  write_file(path, bytes + bytes);
  REQUIRE_THROWS_WITH(read_nifti(path), Catch::Contains("more data follow"));
  write_file(path, bytes + std::string(1000, '\0'));
  REQUIRE_NOTHROW(read_nifti(path));
  std::string wrong = bytes;
  wrong[bytes.size() - 6] = static_cast<char>(wrong[bytes.size() - 6] ^ 1);
  write_file(path, wrong);
  REQUIRE_THROWS_WITH(read_nifti(path), Catch::Contains("CRC"));
}

TEST_CASE("nifti: a tiny gzip file that announces an enormous volume is refused before memory is taken", "[unit][io]") {
  const TestFolder folder;
  const fs::path plain = odd_file(folder, [](nifti_1_header& h) { std::fill(h.dim + 1, h.dim + 4, short{30000}); });
  const std::string bytes = read_file(plain, 1 << 20);
  ByteSink sink(folder.path / "bomb.nii.gz", 9);
  sink.write(std::as_bytes(std::span(bytes)));
  sink.commit();
  REQUIRE_THROWS_WITH(read_nifti_header(folder.path / "bomb.nii.gz"), Catch::Contains("more than the file can hold"));
}

TEST_CASE("nifti: writing refuses other names and options that are none, and leaves no file", "[unit][io]") {
  const TestFolder folder;
  const Volume volume = counting(DType::U8);
  const auto with = [](auto member, int value) {
    NiftiOptions options;
    options.*member = value;
    return options;
  };
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.img", volume), DataError);
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.nii", volume, with(&NiftiOptions::version, 3)), ConfigError);
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.nii", volume, with(&NiftiOptions::xform_code, 0)), ConfigError);
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.nii", volume, with(&NiftiOptions::intent_code, -1)), ConfigError);
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.nii.gz", volume, with(&NiftiOptions::gzip_level, 10)), ConfigError);
  REQUIRE_THROWS_AS(write_nifti(folder.path / "none" / "a.nii", volume), RuntimeError);
  REQUIRE(fs::is_empty(folder.path));
  const Volume long_volume = counting(DType::U8, {1, 1, 40000});
  REQUIRE_THROWS_AS(write_nifti(folder.path / "a.nii", long_volume, with(&NiftiOptions::version, 1)), ConfigError);
  write_nifti(folder.path / "a.nii", long_volume);
  REQUIRE(read_nifti_header(folder.path / "a.nii").version == 2);
}

TEST_CASE("nifti: the same volume gives the same bytes", "[unit][io]") {
  const TestFolder folder;
  write_nifti(folder.path / "a.nii.gz", counting(DType::I16));
  write_nifti(folder.path / "b.nii.gz", counting(DType::I16));
  REQUIRE(sha256_file(folder.path / "a.nii.gz") == sha256_file(folder.path / "b.nii.gz"));
}

}  // namespace
}  // namespace medgen
