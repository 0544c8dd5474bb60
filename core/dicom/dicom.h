// SPDX-License-Identifier: Apache-2.0
// DICOM series of one folder as volumes (PS3.3 C.7.6.2 image plane, C.7.6.16 enhanced multi-frame).
#pragma once

#include "core/volume/volume.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace medgen {

/// False when medgen was built without DCMTK: then every series is refused with a message that says so.
bool has_dicom();

/// A regular file with DICOM's preamble ("DICM" at byte 128), whatever its name. Reads 132 bytes.
bool is_dicom_file(const std::filesystem::path& path);
/// A folder that directly holds such a file. Opens files until the first, hidden ones and DICOMDIR not.
bool is_dicom_folder(const std::filesystem::path& path);

/// What a series is, as far as a person needs to choose one. Nothing in it names the patient.
struct DicomSeries {
  std::string uid;          ///< "(no UID)" of files that were stripped of it
  std::string modality;     ///< "CT"
  std::string description;  ///< printable ASCII of Series Description; may be empty
  Geometry geometry;
  DType dtype = DType::I16;                  ///< that read_dicom gives
  std::vector<std::filesystem::path> files;  ///< in the order of their slices; an enhanced file holds several
  std::vector<std::string> warnings;
};

/// The series of `path` without reading voxels: a folder with one series, or one file of the wanted series, whose
/// folder is then searched for the others.
///
/// Slices are placed by position, never by number; DICOM's LPS becomes RAS; a tilted gantry gives sheared axes, as it
/// should. Files that are no DICOM or hold no image are passed over with a warning.
/// @throws DataError with the file for everything that is no single regular volume: no DICOM at all, several series
/// (all are listed), slices of different size, spacing or orientation, a slice that is missing or comes twice, uneven
/// distances, no position, colour, more than 16 bits, damaged headers.
DicomSeries read_dicom_info(const std::filesystem::path& path);

struct DicomVolume {
  Volume volume;
  DicomSeries series;
};

/// The whole series. Rescale Slope and Intercept are applied: whole numbers give the smallest integer type that holds
/// every value the header allows (CT: I16), others F32. MONOCHROME1 is turned round, so that more is brighter, where
/// values have no unit (no rescale).
/// Reads uncompressed, RLE, JPEG (lossy and lossless, 8 to 16 bits), JPEG-LS and JPEG 2000.
/// @throws DataError as read_dicom_info; also for another compression and for damaged or missing pixels.
DicomVolume read_dicom(const std::filesystem::path& path);

}  // namespace medgen
