// SPDX-License-Identifier: Apache-2.0
#include "core/dicom/slice_file.h"

#include "core/base/error.h"
#include "core/dicom/dicom.h"

#ifdef MEDGEN_HAS_DICOM

#include "core/dicom/jpeg2000.h"

#include <dcmtk/config/osconfig.h>

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>

#include <cmath>

namespace medgen {

bool has_dicom() {
  return true;
}

namespace dicom {
namespace {

namespace fs = std::filesystem;

/// A compressed image is seldom smaller than this part of its pixels, a damaged header mostly is.
constexpr std::uint64_t kMostCompression = 4096;
constexpr Uint32 kLongestInHeader = 4096;  // longer values stay in the file until they are asked for

void prepare_library() {
  static const bool done = [] {
    OFLog::getLogger("dcmtk").setLogLevel(OFLogger::OFF_LOG_LEVEL);  // its errors come back as values
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
    return true;
  }();
  static_cast<void>(done);
}

void require(const OFCondition& condition, const fs::path& path, const char* what) {
  if (!condition.good()) throw DataError("{}: {}: {}", path.string(), what, condition.text());
}

/// Printable ASCII only: what comes from a file may end up on a terminal.
std::string text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  if (!item.findAndGetOFString(tag, value).good()) return {};
  std::string printable(value.c_str(), value.size());
  std::erase_if(printable, [](char c) { return c < ' ' || c > '~'; });
  return printable;
}

/// De-identified files may have none: they are one series then.
std::string series_uid(DcmItem& dataset) {
  std::string uid = text(dataset, DCM_SeriesInstanceUID);
  return uid.empty() ? "(no UID)" : uid;
}

std::vector<double> numbers(DcmItem* item, const DcmTagKey& tag) {
  std::vector<double> values;
  Float64 value = 0;
  while (item != nullptr && item->findAndGetFloat64(tag, value, static_cast<unsigned long>(values.size())).good()) {
    values.push_back(value);
  }
  return values;
}

int whole(DcmItem& item, const DcmTagKey& tag, int missing) {
  Uint16 value = 0;
  return item.findAndGetUint16(tag, value).good() ? value : missing;
}

DcmItem* item_of(DcmItem& parent, const DcmTagKey& sequence, long index) {
  DcmItem* item = nullptr;
  return parent.findAndGetSequenceItem(sequence, item, index).good() ? item : nullptr;
}

/// One frame of a file: its attributes stand in its own functional group, in the shared one, or in the data set.
class Frame {
 public:
  Frame(DcmItem& dataset, std::int64_t index, const fs::path& path)
      : dataset_(dataset),
        own_(item_of(dataset, DCM_PerFrameFunctionalGroupsSequence, static_cast<long>(index))),
        shared_(item_of(dataset, DCM_SharedFunctionalGroupsSequence, 0)),
        path_(path) {}

  std::vector<double> values(const DcmTagKey& macro, const DcmTagKey& tag) const {
    for (DcmItem* group : {own_, shared_}) {
      DcmItem* item = group == nullptr ? nullptr : item_of(*group, macro, 0);
      const auto found = numbers(item, tag);
      if (!found.empty()) return found;
    }
    return numbers(&dataset_, tag);
  }

  /// @throws DataError unless there are `count` numbers.
  std::vector<double> needed(const DcmTagKey& macro, const DcmTagKey& tag, std::size_t count, const char* name) const {
    auto found = values(macro, tag);
    if (found.size() == count) return found;
    throw DataError("{}: {} of {} numbers of {}; without it the image has no place in the patient", path_.string(),
                    found.size(), count, name);
  }

 private:
  DcmItem& dataset_;
  DcmItem* own_;
  DcmItem* shared_;
  const fs::path& path_;
};

PixelFormat pixel_format(DcmItem& dataset, const Frame& frame, const std::string& modality, const fs::path& path) {
  PixelFormat format;
  format.bits_allocated = whole(dataset, DCM_BitsAllocated, 16);
  format.bits_stored = whole(dataset, DCM_BitsStored, format.bits_allocated);
  format.is_signed = whole(dataset, DCM_PixelRepresentation, 0) != 0;
  const int high_bit = whole(dataset, DCM_HighBit, format.bits_stored - 1);
  const bool known = (format.bits_allocated == 8 || format.bits_allocated == 16) && format.bits_stored >= 1 &&
                     format.bits_stored <= format.bits_allocated && high_bit == format.bits_stored - 1;
  if (!known) {
    throw DataError("{}: pixels of {} bits stored in {} (high bit {}); medgen reads 8 and 16 bits, stored lowest first",
                    path.string(), format.bits_stored, format.bits_allocated, high_bit);
  }
  const std::string colours = text(dataset, DCM_PhotometricInterpretation);
  if (whole(dataset, DCM_SamplesPerPixel, 1) != 1 || !colours.starts_with("MONOCHROME")) {
    throw DataError("{}: a colour image ({}); volumes are made from MONOCHROME ones", path.string(), colours);
  }
  if (item_of(dataset, DCM_ModalityLUTSequence, 0) != nullptr) {
    throw DataError("{}: values are given by a Modality LUT Sequence, which medgen does not read", path.string());
  }
  const auto slope = frame.values(DCM_PixelValueTransformationSequence, DCM_RescaleSlope);
  const auto intercept = frame.values(DCM_PixelValueTransformationSequence, DCM_RescaleIntercept);
  if (!slope.empty()) format.slope = slope[0];
  if (!intercept.empty()) format.intercept = intercept[0];
  if (!std::isfinite(format.slope) || !std::isfinite(format.intercept) || format.slope == 0) {
    throw DataError("{}: rescale slope {} and intercept {} give no values", path.string(), format.slope,
                    format.intercept);
  }
  const bool has_unit = format.slope != 1 || format.intercept != 0 || modality == "CT" || modality == "PT";
  format.inverted = colours == "MONOCHROME1" && !has_unit;
  return format;
}

Vec3 three(const std::vector<double>& values, std::size_t first) {
  return {values[first], values[first + 1], values[first + 2]};
}

/// What the frames of a file share.
Slice common(DcmItem& dataset, const fs::path& path) {
  Slice slice;
  slice.file = path;
  slice.series_uid = series_uid(dataset);
  slice.modality = text(dataset, DCM_Modality);
  slice.description = text(dataset, DCM_SeriesDescription);
  slice.rows = whole(dataset, DCM_Rows, 0);
  slice.columns = whole(dataset, DCM_Columns, 0);
  if (slice.rows == 0 || slice.columns == 0) throw DataError("{}: an image of no size", path.string());
  return slice;
}

Slice read_slice(const Slice& base, DcmItem& dataset, std::int64_t index) {
  Slice slice = base;
  slice.frame = index;
  const Frame frame(dataset, index, base.file);
  const auto directions =
      frame.needed(DCM_PlaneOrientationSequence, DCM_ImageOrientationPatient, 6, "Image Orientation (Patient)");
  slice.row_direction = three(directions, 0);
  slice.column_direction = three(directions, 3);
  slice.position_mm =
      three(frame.needed(DCM_PlanePositionSequence, DCM_ImagePositionPatient, 3, "Image Position (Patient)"), 0);
  const auto spacing = frame.needed(DCM_PixelMeasuresSequence, DCM_PixelSpacing, 2, "Pixel Spacing");
  slice.row_spacing_mm = spacing[0];
  slice.column_spacing_mm = spacing[1];
  for (const DcmTagKey& tag : {DCM_SpacingBetweenSlices, DCM_SliceThickness}) {
    const auto thickness = frame.values(DCM_PixelMeasuresSequence, tag);
    if (!slice.thickness_mm && !thickness.empty()) slice.thickness_mm = thickness[0];
  }
  slice.pixels = pixel_format(dataset, frame, base.modality, base.file);
  return slice;
}

/// @throws DataError when the file has more frames than positions.
std::int64_t frames_of(DcmItem& dataset, const fs::path& path) {
  Sint32 frames = 1;
  if (!dataset.findAndGetSint32(DCM_NumberOfFrames, frames).good()) return 1;
  DcmSequenceOfItems* groups = nullptr;
  dataset.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, groups);
  const std::int64_t placed = groups == nullptr ? 1 : static_cast<std::int64_t>(groups->card());
  if (frames == placed && frames > 0) return frames;
  throw DataError(
      "{}: {} frames, but places in the patient for {}; medgen reads multi-frame files that have functional "
      "groups (enhanced CT, MR, PET)",
      path.string(), frames, placed);
}

/// @throws DataError when the file cannot hold the pixels that its header announces.
void require_room(const Slice& slice, std::int64_t frames, bool compressed) {
  const auto size = static_cast<std::uint64_t>(fs::file_size(slice.file));
  const auto needed = static_cast<std::uint64_t>(frames * slice.rows * slice.columns * slice.pixels.bits_allocated / 8);
  if (needed <= size * (compressed ? kMostCompression : 1)) return;
  throw DataError("{}: {} bytes for an image of {} x {} x {} pixels; the file is cut short or its header damaged",
                  slice.file.string(), size, slice.columns, slice.rows, frames);
}

bool is_jpeg2000(E_TransferSyntax syntax) {
  return syntax == EXS_JPEG2000LosslessOnly || syntax == EXS_JPEG2000;
}

/// The fragments of one frame of an encapsulated image, joined.
std::vector<std::byte> frame_code(DcmPixelSequence& fragments, std::int64_t frame, std::int64_t frames) {
  const unsigned long count = fragments.card() - 1;  // the first item is the offset table
  if (frames > 1 && count != static_cast<unsigned long>(frames)) {
    throw DataError("{} fragments of {} frames; medgen reads one fragment a frame", count, frames);
  }
  const unsigned long first = frames > 1 ? static_cast<unsigned long>(frame) + 1 : 1;
  const unsigned long last = frames > 1 ? first : count;
  std::vector<std::byte> code;
  for (unsigned long i = first; i <= last; ++i) {
    DcmPixelItem* item = nullptr;
    Uint8* bytes = nullptr;
    if (!fragments.getItem(item, i).good() || !item->getUint8Array(bytes).good() || bytes == nullptr) {
      throw DataError("a fragment of the image cannot be read");
    }
    const auto* begin = reinterpret_cast<const std::byte*>(bytes);
    code.insert(code.end(), begin, begin + item->getLength());
  }
  return code;
}

/// Pixels of one frame after another.
class PixelReader {
 public:
  PixelReader(DcmDataset& dataset, const Slice& like, std::int64_t frames)
      : dataset_(dataset), like_(like), frames_(frames), syntax_(dataset.getOriginalXfer()) {
    DcmElement* element = nullptr;
    if (!dataset.findAndGetElement(DCM_PixelData, element).good()) {
      throw DataError("the file holds no pixels of 8 or 16 bits");
    }
    pixels_ = dynamic_cast<DcmPixelData*>(element);
    if (pixels_ == nullptr) throw DataError("the pixels are of a kind that medgen does not read");
    const auto bytes = static_cast<std::size_t>(like.rows * like.columns * like.pixels.bits_allocated / 8);
    buffer_.resize(bytes + bytes % 2);  // DCMTK wants room for the pad byte
  }

  const void* read(std::int64_t frame) {
    if (is_jpeg2000(syntax_)) {
      DcmPixelSequence* fragments = nullptr;
      if (!pixels_->getEncapsulatedRepresentation(syntax_, nullptr, fragments).good()) {
        throw DataError("the compressed pixels cannot be read");
      }
      buffer_ = decode_jpeg2000(frame_code(*fragments, frame, frames_), like_.pixels, like_.columns, like_.rows);
      return buffer_.data();
    }
    OFString colours;
    const OFCondition condition = pixels_->getUncompressedFrame(
        &dataset_, static_cast<Uint32>(frame), fragment_, buffer_.data(), static_cast<Uint32>(buffer_.size()), colours);
    if (!condition.good()) {
      throw DataError("the pixels ({}) cannot be read: {}", DcmXfer(syntax_).getXferName(), condition.text());
    }
    return buffer_.data();
  }

 private:
  DcmDataset& dataset_;
  const Slice& like_;
  std::int64_t frames_;
  E_TransferSyntax syntax_;
  DcmPixelData* pixels_ = nullptr;
  Uint32 fragment_ = 0;  ///< where the next frame begins
  std::vector<std::byte> buffer_;
};

/// All frames. @throws DataError when they cannot be part of a volume.
std::vector<Slice> slices_of(DcmDataset& dataset, const fs::path& path) {
  const Slice base = common(dataset, path);
  const std::int64_t frames = frames_of(dataset, path);
  std::vector<Slice> slices;
  for (std::int64_t frame = 0; frame < frames; ++frame) slices.push_back(read_slice(base, dataset, frame));
  const DcmXfer syntax(dataset.getOriginalXfer());
  require_room(slices.front(), frames, syntax.isEncapsulated() || syntax.getStreamCompression() != ESC_none);
  return slices;
}

}  // namespace

FileImages read_images(const fs::path& path) {
  prepare_library();
  DcmFileFormat file;
  require(file.loadFileUntilTag(path.c_str(), EXS_Unknown, EGL_noChange, kLongestInHeader, ERM_fileOnly, DCM_PixelData),
          path, "the DICOM header cannot be read");
  DcmDataset& dataset = *file.getDataset();
  if (!dataset.tagExists(DCM_Rows)) return {};
  FileImages images;
  images.series_uid = series_uid(dataset);
  try {
    images.slices = slices_of(dataset, path);
  } catch (const DataError& error) {
    images.problem = error.what();
  }
  return images;
}

void read_frames(const Slice& like, const std::function<void(std::int64_t, const void*)>& use) {
  prepare_library();
  DcmFileFormat file;
  require(file.loadFile(like.file.c_str(), EXS_Unknown, EGL_noChange, kLongestInHeader, ERM_fileOnly), like.file,
          "the DICOM file cannot be read");
  const std::int64_t frames = frames_of(*file.getDataset(), like.file);
  try {
    PixelReader reader(*file.getDataset(), like, frames);
    for (std::int64_t frame = 0; frame < frames; ++frame) use(frame, reader.read(frame));
  } catch (const DataError& error) {
    throw DataError("{}: {}", like.file.string(), error.what());
  }
}

}  // namespace dicom
}  // namespace medgen

#else

namespace medgen {

bool has_dicom() {
  return false;
}

namespace dicom {

FileImages read_images(const std::filesystem::path& file) {
  throw DataError("{}: this medgen was built without DICOM (MEDGEN_DICOM); convert the series to NIfTI", file.string());
}

void read_frames(const Slice& like, const std::function<void(std::int64_t, const void*)>&) {
  static_cast<void>(read_images(like.file));
}

}  // namespace dicom
}  // namespace medgen

#endif
