// SPDX-License-Identifier: Apache-2.0
#include "core/dicom/dicom.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/test_folder.h"

#include <catch2/catch.hpp>

#ifdef MEDGEN_HAS_DICOM

#include "core/dicom/test_series.h"

#include <algorithm>
#include <cmath>

namespace medgen {
namespace {

using Catch::Contains;
using test_series::put;
using test_series::put_number;

double value_at(const Volume& volume, std::int64_t x, std::int64_t y, std::int64_t z) {
  const Size3 size = volume.size();
  const Tensor doubles = volume.voxels().to(DType::F64);
  return doubles.values<double>()[static_cast<std::size_t>((z * size[1] + y) * size[0] + x)];
}

/// Every voxel has the value that its stored number says.
void require_values(const Volume& volume, const TestSeries& series) {
  REQUIRE(volume.size() == Size3{series.columns, series.rows, series.slices});
  for (int z = 0; z < series.slices; ++z) {
    for (int y = 0; y < series.rows; ++y) {
      for (int x = 0; x < series.columns; ++x) {
        REQUIRE(value_at(volume, x, y, z) == Approx(series.pixel(x, y, z) * series.slope + series.intercept));
      }
    }
  }
}

void require_place(const Volume& volume, const TestSeries& series, const Vec3& lps, const Vec3& voxel) {
  const auto ras = volume.affine().voxel_to_world({voxel}).mm;
  CHECK(ras[0] == Approx(-lps[0]).margin(1e-5));
  CHECK(ras[1] == Approx(-lps[1]).margin(1e-5));
  CHECK(ras[2] == Approx(lps[2]).margin(1e-5));
  static_cast<void>(series);
}

/// The place of a voxel by the formula of PS3.3 C.7.6.2.1.1.
Vec3 lps_of(const TestSeries& series, int x, int y, int z) {
  Vec3 place = test_series::position(series, z);
  for (std::size_t d = 0; d < 3; ++d) {
    place[d] +=
        x * series.column_spacing * series.row_direction[d] + y * series.row_spacing * series.column_direction[d];
  }
  return place;
}

TEST_CASE("dicom: a series has its values and its places, whatever the names and numbers of its files",
          "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  SECTION("axial") {}
  SECTION("oblique") {
    const double c = std::cos(0.3), s = std::sin(0.3);
    series.row_direction = {c, s, 0};
    series.column_direction = {-s * c, c * c, -s};
    series.step = {2 * -s * s, 2 * s * c, 2 * c};
  }
  SECTION("sagittal") {
    series.row_direction = {0, 1, 0};
    series.column_direction = {0, 0, -1};
    series.step = {-3, 0, 0};
  }
  SECTION("tilted gantry") {
    series.step = {0, 0.5, 2.5};
  }
  write_series(folder.path, series);
  const DicomVolume read = read_dicom(folder.path);
  require_values(read.volume, series);
  for (const auto& [x, y, z] : std::vector<std::array<int, 3>>{{0, 0, 0}, {4, 3, 2}, {2, 0, 1}}) {
    require_place(read.volume, series, lps_of(series, x, y, z),
                  {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
  }
  CHECK(read.volume.dtype() == DType::I16);
  CHECK(read_dicom_info(folder.path).geometry == read.volume.geometry());
  CHECK(read.series.modality == "CT");
}

TEST_CASE("dicom: slices that grow against the normal are turned, every voxel stays in its place", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.step = {0, 0, -2.5};
  write_series(folder.path, series);
  const Volume volume = read_dicom(folder.path).volume;
  require_place(volume, series, lps_of(series, 1, 2, 0), {1, 2, 2});
  CHECK(value_at(volume, 1, 2, 2) == series.pixel(1, 2, 0) - 1024);
  CHECK(volume.orientation() == "LPS");
}

TEST_CASE("dicom: bits, signs and rescaling", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  DType expected = DType::I16;
  SECTION("12 bits signed") {
    series.is_signed = true;
    series.pixel = [](int x, int y, int z) { return (x - 2 * y - 100 * z) & 0xfff; };
    series.intercept = 0;
    write_series(folder.path, series);
    const Volume volume = read_dicom(folder.path).volume;
    CHECK(volume.dtype() == DType::I16);
    CHECK(value_at(volume, 1, 3, 2) == -205);
    return;
  }
  SECTION("overlay bits above the stored ones do not count") {
    series.change = [](DcmDataset& dataset, int) {
      const Uint16* words = nullptr;
      unsigned long count = 0;
      test_series::require(dataset.findAndGetUint16Array(DCM_PixelData, words, &count));
      std::vector<Uint16> changed(words, words + count);
      for (Uint16& word : changed) word |= 0xf000;
      test_series::require(dataset.putAndInsertUint16Array(DCM_PixelData, changed.data(), count));
    };
  }
  SECTION("8 bits") {
    series.bits_allocated = series.bits_stored = 8;
    series.intercept = 0;
    series.pixel = [](int x, int y, int z) { return x + 10 * y + 70 * z; };
    expected = DType::U8;
  }
  SECTION("16 bits signed") {
    series.bits_stored = 16;
    series.is_signed = true;
    series.intercept = 0;
  }
  SECTION("16 bits unsigned") {
    series.bits_stored = 16;
    series.intercept = 0;
    series.pixel = [](int x, int y, int z) { return 65535 - x - y - z; };
    expected = DType::U16;
  }
  SECTION("a broken slope") {
    series.slope = 0.25;
    expected = DType::F32;
  }
  SECTION("big endian") {
    series.syntax = EXS_BigEndianExplicit;
  }
  SECTION("implicit") {
    series.syntax = EXS_LittleEndianImplicit;
  }
  SECTION("deflated") {
    series.syntax = EXS_DeflatedLittleEndianExplicit;
  }
  SECTION("RLE") {
    series.syntax = EXS_RLELossless;
  }
  SECTION("JPEG lossless") {
    series.syntax = EXS_JPEGProcess14SV1;
  }
  SECTION("JPEG-LS") {
    series.syntax = EXS_JPEGLSLossless;
  }
  SECTION("JPEG 2000") {
    series.syntax = EXS_JPEG2000LosslessOnly;
  }
  write_series(folder.path, series);
  const Volume volume = read_dicom(folder.path).volume;
  CHECK(volume.dtype() == expected);
  require_values(volume, series);
}

TEST_CASE("dicom: MONOCHROME1 is turned round where values have no unit", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.photometric = "MONOCHROME1";
  SECTION("no unit") {
    series.modality = "MR";
    series.intercept = 0;
    write_series(folder.path, series);
    const DicomVolume read = read_dicom(folder.path);
    CHECK(value_at(read.volume, 1, 2, 1) == 4095 - series.pixel(1, 2, 1));
    CHECK_THAT(read.series.warnings.at(0), Contains("MONOCHROME1"));
  }
  SECTION("Hounsfield units") {
    write_series(folder.path, series);
    require_values(read_dicom(folder.path).volume, series);
  }
}

TEST_CASE("dicom: an enhanced multi-frame file is the volume of its frames", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.syntax = GENERATE(EXS_LittleEndianExplicit, EXS_RLELossless);
  write_enhanced(folder.path, series);
  const Volume volume = read_dicom(folder.path).volume;
  require_values(volume, series);
  require_place(volume, series, lps_of(series, 4, 3, 2), {4, 3, 2});
}

TEST_CASE("dicom: several series need a choice, which one of their files makes", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  write_series(folder.path, series);
  TestSeries other;
  other.uid = "1.2.826.0.1.3680043.10.2";
  other.description = "lung \x1b[31m kernel";
  other.prefix = "LUNG";
  other.slices = 2;
  const auto files = write_series(folder.path, other);
  REQUIRE_THROWS_AS(read_dicom(folder.path), DataError);
  REQUIRE_THROWS_WITH(read_dicom(folder.path), Contains("2 DICOM series") && Contains(series.uid) &&
                                                   Contains(other.uid) && Contains("thorax") &&
                                                   Contains("5 x 4, 2 slices") && Contains(files[1].string()) &&
                                                   !Contains("SECRET") && !Contains("\x1b"));
  CHECK(read_dicom(files.back()).volume.size() == Size3{5, 4, 2});
  CHECK(read_dicom_info(files.front()).uid == other.uid);
}

TEST_CASE("dicom: what is no image is passed over with a warning", "[unit][dicom]") {
  const TestFolder folder;
  write_series(folder.path, {});
  write_file(folder.path / "README.txt", "notes");
  TestSeries screenshot;
  screenshot.uid += ".9";
  screenshot.prefix = "SHOT";
  screenshot.slices = 1;
  screenshot.change = [](DcmDataset& dataset, int) { dataset.findAndDeleteElement(DCM_ImagePositionPatient); };
  write_series(folder.path, screenshot);
  TestSeries report;
  report.uid += ".10";
  report.prefix = "SR";
  report.slices = 1;
  report.change = [](DcmDataset& dataset, int) {
    for (const DcmTagKey& tag : {DCM_Rows, DCM_Columns, DCM_PixelData}) dataset.findAndDeleteElement(tag);
  };
  write_series(folder.path, report);
  const DicomSeries series = read_dicom_info(folder.path);
  CHECK(series.files.size() == 3);
  REQUIRE(series.warnings.size() == 3);
  CHECK_THAT(series.warnings[0], Contains("1 files are no DICOM"));
  CHECK_THAT(series.warnings[1], Contains("hold no image"));
  CHECK_THAT(series.warnings[2], Contains("Image Position"));
}

TEST_CASE("dicom: slices that are no regular volume are refused by name", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.slices = 6;
  std::string message;
  const auto moved = [](int slice, double mm) {
    return [=](DcmDataset& dataset, int z) {
      if (z == slice) put(dataset, DCM_ImagePositionPatient, fmt::format("-10\\-20\\{}", 30 + 2.5 * z + mm));
    };
  };
  SECTION("a slice is missing") {
    write_series(folder.path, series);
    std::filesystem::remove(folder.path / "IM098");
    message = "IM098|a slice is missing";
    REQUIRE_THROWS_WITH(read_dicom(folder.path), Contains("a slice is missing between them") && Contains("IM099") &&
                                                     Contains("IM097") && Contains("5 mm"));
    return;
  }
  SECTION("uneven distances") {
    series.change = moved(3, 0.9);
    message = "unevenly spaced";
  }
  SECTION("a slice twice") {
    series.change = moved(3, -2.5);
    message = "same place";
  }
  SECTION("another size") {
    series.change = [](DcmDataset& dataset, int z) {
      if (z == 2) put_number(dataset, DCM_Rows, 2);
    };
    message = "different sizes";
  }
  SECTION("another spacing") {
    series.change = [](DcmDataset& dataset, int z) {
      if (z == 2) put(dataset, DCM_PixelSpacing, "1\\1");
    };
    message = "different pixel spacings";
  }
  SECTION("a localizer in the series") {
    series.change = [](DcmDataset& dataset, int z) {
      if (z == 0) put(dataset, DCM_ImageOrientationPatient, "0\\1\\0\\0\\0\\-1");
    };
    message = "different orientations";
  }
  SECTION("directions that are none") {
    series.change = [](DcmDataset& dataset, int) { put(dataset, DCM_ImageOrientationPatient, "1\\0\\0\\1\\0\\0"); };
    message = "right angle";
  }
  SECTION("no position") {
    series.change = [](DcmDataset& dataset, int z) {
      if (z == 5) dataset.findAndDeleteElement(DCM_ImagePositionPatient);
    };
    message = "Image Position (Patient)";
  }
  write_series(folder.path, series);
  REQUIRE_THROWS_AS(read_dicom_info(folder.path), DataError);
  REQUIRE_THROWS_WITH(read_dicom_info(folder.path), Contains(message) && Contains(folder.path.string()));
}

TEST_CASE("dicom: files that cannot be read give one message with their name", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  std::string message;
  const auto every = [](auto change) { return [=](DcmDataset& dataset, int) { change(dataset); }; };
  SECTION("colour") {
    series.change = every([](DcmDataset& d) { put(d, DCM_PhotometricInterpretation, "RGB"); });
    message = "colour";
  }
  SECTION("32 bits") {
    series.change = every([](DcmDataset& d) { put_number(d, DCM_BitsAllocated, 32); });
    message = "stored in 32";
  }
  SECTION("no slope") {
    series.change = every([](DcmDataset& d) { put(d, DCM_RescaleSlope, "0"); });
    message = "rescale slope";
  }
  SECTION("a size that the file cannot hold") {
    series.change = every([](DcmDataset& d) { put_number(d, DCM_Rows, 60000); });
    message = "cut short";
  }
  SECTION("frames without places") {
    series.change = every([](DcmDataset& d) { put(d, DCM_NumberOfFrames, "3"); });
    message = "places in the patient";
  }
  SECTION("too few pixels") {
    series.change = every([](DcmDataset& d) {
      const std::vector<Uint16> few(4);
      test_series::require(d.putAndInsertUint16Array(DCM_PixelData, few.data(), 4));
    });
    message = "cannot be read";
  }
  SECTION("no pixels") {
    series.change = every([](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); });
    message = "holds no pixels";
  }
  SECTION("damaged JPEG 2000") {
    series.syntax = EXS_JPEG2000LosslessOnly;
    series.change =
        every([](DcmDataset& d) { test_series::put_encapsulated(d, EXS_JPEG2000LosslessOnly, "garbage!"); });
    message = "JPEG 2000";
  }
  SECTION("a compression that is not known") {
    series.syntax = EXS_MPEG2MainProfileAtMainLevel;
    series.change =
        every([](DcmDataset& d) { test_series::put_encapsulated(d, EXS_MPEG2MainProfileAtMainLevel, "movie!"); });
    message = "cannot be read";
  }
  write_series(folder.path, series);
  REQUIRE_THROWS_AS(read_dicom(folder.path), DataError);
  REQUIRE_THROWS_WITH(read_dicom(folder.path), Contains(message) && Contains(folder.path.string()));
}

TEST_CASE("dicom: truncated files never crash and never pass", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.slices = 1;
  series.syntax = GENERATE(EXS_LittleEndianExplicit, EXS_JPEG2000LosslessOnly, EXS_RLELossless);
  const auto file = write_series(folder.path, series).front();
  const std::string whole = read_file(file, 1 << 20);
  for (std::size_t bytes = 140; bytes + 8 < whole.size(); bytes += 13) {
    write_file(file, whole.substr(0, bytes));
    INFO(bytes << " of " << whole.size());
    REQUIRE_THROWS_AS(read_dicom(folder.path), DataError);
  }
}

TEST_CASE("dicom: folders and files are told by their contents", "[unit][dicom]") {
  const TestFolder folder;
  CHECK_FALSE(is_dicom_folder(folder.path));
  CHECK_FALSE(is_dicom_folder(folder.path / "missing"));
  write_file(folder.path / "short", "DICM");
  CHECK_FALSE(is_dicom_file(folder.path / "short"));
  CHECK_FALSE(is_dicom_folder(folder.path));
  REQUIRE_THROWS_WITH(read_dicom(folder.path), Contains("holds no DICOM image"));
  const auto files = write_series(folder.path / "scan", {});
  CHECK(is_dicom_file(files.front()));
  CHECK(is_dicom_folder(folder.path / "scan"));
  CHECK_FALSE(is_dicom_folder(files.front()));
}

TEST_CASE("dicom: files that were stripped of their series are one", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.change = [](DcmDataset& dataset, int) { put(dataset, DCM_SeriesInstanceUID, ""); };
  const auto files = write_series(folder.path, series);
  CHECK(read_dicom_info(folder.path).files.size() == 3);
  CHECK(read_dicom_info(files[1]).files.size() == 3);
}

TEST_CASE("dicom: a single slice has its thickness", "[unit][dicom]") {
  const TestFolder folder;
  TestSeries series;
  series.slices = 1;
  write_series(folder.path, series);
  CHECK(read_dicom_info(folder.path).geometry.affine.spacing_mm()[2] == Approx(2.5));
}

}  // namespace
}  // namespace medgen

#else

namespace medgen {

TEST_CASE("dicom: without DCMTK a series is refused, and the message says why", "[unit][dicom]") {
  const TestFolder folder;
  write_file(folder.path / "a.dcm", std::string(128, '\0') + "DICM" + std::string(64, '\0'));
  CHECK_FALSE(has_dicom());
  REQUIRE_THROWS_WITH(read_dicom(folder.path), Catch::Contains("built without DICOM"));
}

}  // namespace medgen

#endif
