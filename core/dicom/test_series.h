// SPDX-License-Identifier: Apache-2.0
// Small DICOM series made with DCMTK, for tests.
#pragma once

#include "core/base/file.h"
#include "core/volume/geometry.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openjpeg.h>

#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace medgen {

struct TestSeries {
  std::string uid = "1.2.826.0.1.3680043.10.1";
  std::string description = "thorax";
  std::string modality = "CT";
  int columns = 5;
  int rows = 4;
  int slices = 3;
  Vec3 row_direction{1, 0, 0};
  Vec3 column_direction{0, 1, 0};
  Vec3 origin{-10, -20, 30};
  Vec3 step{0, 0, 2.5};
  double column_spacing = 0.75;
  double row_spacing = 1.25;
  int bits_allocated = 16;
  int bits_stored = 12;
  bool is_signed = false;
  std::string photometric = "MONOCHROME2";
  double slope = 1;
  double intercept = -1024;
  std::string prefix = "IM";  ///< of file names
  /// The stored number of pixel (x, y) of slice z.
  std::function<int(int x, int y, int z)> pixel = [](int x, int y, int z) { return x + 10 * y + 100 * z; };
  /// Changes the data set of slice z before it is written.
  std::function<void(DcmDataset&, int z)> change = [](DcmDataset&, int) {};
  E_TransferSyntax syntax = EXS_LittleEndianExplicit;
};

namespace test_series {

inline void require(const OFCondition& condition) {
  if (!condition.good()) throw std::runtime_error(condition.text());
}

inline void put(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  require(item.putAndInsertString(tag, value.c_str()));
}

inline void put_number(DcmItem& item, const DcmTagKey& tag, int value) {
  require(item.putAndInsertUint16(tag, static_cast<Uint16>(value)));
}

inline std::string joined(const Vec3& v) {
  return fmt::format("{:.6f}\\{:.6f}\\{:.6f}", v[0], v[1], v[2]);
}

inline Vec3 position(const TestSeries& series, int z) {
  Vec3 place = series.origin;
  for (std::size_t d = 0; d < 3; ++d) place[d] += z * series.step[d];
  return place;
}

inline DcmItem& item(DcmItem& parent, const DcmTagKey& sequence, int index = 0) {
  DcmItem* made = nullptr;
  require(parent.findOrCreateSequenceItem(sequence, made, index));
  return *made;
}

inline std::vector<Uint16> words(const TestSeries& series, int z) {
  std::vector<Uint16> all;
  for (int y = 0; y < series.rows; ++y) {
    for (int x = 0; x < series.columns; ++x) all.push_back(static_cast<Uint16>(series.pixel(x, y, z)));
  }
  return all;
}

inline void put_pixels(DcmItem& dataset, const TestSeries& series, const std::vector<Uint16>& all) {
  if (series.bits_allocated == 8) {
    const std::vector<Uint8> bytes(all.begin(), all.end());
    require(dataset.putAndInsertUint8Array(DCM_PixelData, bytes.data(), static_cast<unsigned long>(bytes.size())));
  } else {
    require(dataset.putAndInsertUint16Array(DCM_PixelData, all.data(), static_cast<unsigned long>(all.size())));
  }
}

/// Everything but the pixels and the places.
inline void describe(DcmDataset& dataset, const TestSeries& series, int number) {
  put(dataset, DCM_SOPClassUID, UID_CTImageStorage);
  put(dataset, DCM_SOPInstanceUID, fmt::format("{}.{}", series.uid, number + 1));
  put(dataset, DCM_SeriesInstanceUID, series.uid);
  put(dataset, DCM_SeriesDescription, series.description);
  put(dataset, DCM_Modality, series.modality);
  put(dataset, DCM_PatientName, "SECRET^NAME");
  put(dataset, DCM_PhotometricInterpretation, series.photometric);
  put_number(dataset, DCM_SamplesPerPixel, 1);
  put_number(dataset, DCM_Rows, series.rows);
  put_number(dataset, DCM_Columns, series.columns);
  put_number(dataset, DCM_BitsAllocated, series.bits_allocated);
  put_number(dataset, DCM_BitsStored, series.bits_stored);
  put_number(dataset, DCM_HighBit, series.bits_stored - 1);
  put_number(dataset, DCM_PixelRepresentation, series.is_signed ? 1 : 0);
}

inline std::string orientation(const TestSeries& series) {
  return joined(series.row_direction) + "\\" + joined(series.column_direction);
}

inline std::string spacing(const TestSeries& series) {
  return fmt::format("{}\\{}", series.row_spacing, series.column_spacing);
}

/// One lossless JPEG 2000 codestream.
inline std::string jpeg2000(const TestSeries& series, int z, const std::filesystem::path& scratch) {
  opj_image_cmptparm_t component{};
  component.dx = component.dy = 1;
  component.w = static_cast<OPJ_UINT32>(series.columns);
  component.h = static_cast<OPJ_UINT32>(series.rows);
  component.prec = static_cast<OPJ_UINT32>(series.bits_stored);
  component.sgnd = series.is_signed ? 1 : 0;
  opj_image_t* image = opj_image_create(1, &component, OPJ_CLRSPC_GRAY);
  image->x1 = component.w;
  image->y1 = component.h;
  for (int i = 0; i < series.columns * series.rows; ++i) {
    image->comps[0].data[i] = series.pixel(i % series.columns, i / series.columns, z);
  }
  opj_cparameters_t parameters;
  opj_set_default_encoder_parameters(&parameters);
  parameters.numresolution = 1;
  opj_codec_t* codec = opj_create_compress(OPJ_CODEC_J2K);
  opj_stream_t* stream = opj_stream_create_default_file_stream(scratch.c_str(), OPJ_FALSE);
  const bool done = opj_setup_encoder(codec, &parameters, image) && opj_start_compress(codec, image, stream) &&
                    opj_encode(codec, stream) && opj_end_compress(codec, stream);
  opj_stream_destroy(stream);
  opj_destroy_codec(codec);
  opj_image_destroy(image);
  if (!done) throw std::runtime_error("JPEG 2000 encoder");
  std::string code = read_file(scratch, 1 << 20);
  std::filesystem::remove(scratch);
  if (code.size() % 2 != 0) code.push_back('\0');
  return code;
}

inline void put_encapsulated(DcmDataset& dataset, E_TransferSyntax syntax, const std::string& code) {
  auto* fragments = new DcmPixelSequence(DCM_PixelSequenceTag);
  require(fragments->insert(new DcmPixelItem(DCM_PixelItemTag)));
  auto* fragment = new DcmPixelItem(DCM_PixelItemTag);
  require(fragments->insert(fragment));
  require(
      fragment->putUint8Array(reinterpret_cast<const Uint8*>(code.data()), static_cast<unsigned long>(code.size())));
  auto* pixels = new DcmPixelData(DCM_PixelData);
  pixels->putOriginalRepresentation(syntax, nullptr, fragments);
  require(dataset.insert(pixels, true));
}

inline void save(DcmFileFormat& file, E_TransferSyntax syntax, const std::filesystem::path& path) {
  static const bool registered = [] {
    DcmRLEEncoderRegistration::registerCodecs();
    DJEncoderRegistration::registerCodecs();
    DJLSEncoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(registered);
  const bool has_codec = syntax != EXS_JPEG2000LosslessOnly && syntax != EXS_MPEG2MainProfileAtMainLevel;
  if (has_codec) require(file.getDataset()->chooseRepresentation(syntax, nullptr));
  require(file.saveFile(path.c_str(), syntax));
}

}  // namespace test_series

/// One file a slice. File names run against the positions, so that nothing can rely on them.
inline std::vector<std::filesystem::path> write_series(const std::filesystem::path& folder, const TestSeries& series) {
  using namespace test_series;
  std::filesystem::create_directories(folder);
  std::vector<std::filesystem::path> files;
  for (int z = 0; z < series.slices; ++z) {
    DcmFileFormat file;
    DcmDataset& dataset = *file.getDataset();
    describe(dataset, series, z);
    put(dataset, DCM_InstanceNumber, std::to_string((z * 7) % 5));
    put(dataset, DCM_ImageOrientationPatient, orientation(series));
    put(dataset, DCM_ImagePositionPatient, joined(position(series, z)));
    put(dataset, DCM_PixelSpacing, spacing(series));
    put(dataset, DCM_SliceThickness, "2.5");
    put(dataset, DCM_RescaleSlope, fmt::format("{}", series.slope));
    put(dataset, DCM_RescaleIntercept, fmt::format("{}", series.intercept));
    files.push_back(folder / fmt::format("{}{:03}", series.prefix, 100 - z));
    if (series.syntax == EXS_JPEG2000LosslessOnly) {
      put_encapsulated(dataset, series.syntax, jpeg2000(series, z, folder / "scratch.j2k"));
    } else {
      put_pixels(dataset, series, words(series, z));
    }
    series.change(dataset, z);
    save(file, series.syntax, files.back());
  }
  return files;
}

/// The same as one enhanced multi-frame file.
inline std::filesystem::path write_enhanced(const std::filesystem::path& folder, const TestSeries& series) {
  using namespace test_series;
  std::filesystem::create_directories(folder);
  DcmFileFormat file;
  DcmDataset& dataset = *file.getDataset();
  describe(dataset, series, 0);
  put(dataset, DCM_NumberOfFrames, std::to_string(series.slices));
  DcmItem& shared = item(dataset, DCM_SharedFunctionalGroupsSequence);
  put(item(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, orientation(series));
  put(item(shared, DCM_PixelMeasuresSequence), DCM_PixelSpacing, spacing(series));
  std::vector<Uint16> all;
  for (int frame = 0; frame < series.slices; ++frame) {
    const int z = series.slices - 1 - frame;  // frames, too, run against the positions
    DcmItem& own = item(dataset, DCM_PerFrameFunctionalGroupsSequence, frame);
    put(item(own, DCM_PlanePositionSequence), DCM_ImagePositionPatient, joined(position(series, z)));
    DcmItem& values = item(own, DCM_PixelValueTransformationSequence);
    put(values, DCM_RescaleSlope, fmt::format("{}", series.slope));
    put(values, DCM_RescaleIntercept, fmt::format("{}", series.intercept));
    for (const Uint16 word : words(series, z)) all.push_back(word);
  }
  put_pixels(dataset, series, all);
  series.change(dataset, 0);
  save(file, series.syntax, folder / "enhanced.dcm");
  return folder / "enhanced.dcm";
}

}  // namespace medgen
