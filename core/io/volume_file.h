// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/volume/volume.h"

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// What can be read, for messages: ".nii, .nii.gz, DICOM series".
std::string supported_volume_formats();
/// By the name alone: what write_volume takes.
bool is_volume_name(const std::filesystem::path& path);
/// Also a folder that holds a DICOM series: what stands for one volume among the entries of a folder. Single DICOM
/// files do not count, though read_volume takes them: they are slices.
bool is_volume(const std::filesystem::path& path);
/// The name without folder and volume extension: "a/case_1.nii.gz" is "case_1", the series "a/scan 3/" is "scan 3", and
/// so is "a/scan 3.dcm".
/// @throws DataError when the path is none of a volume, listing what is.
std::string volume_stem(const std::filesystem::path& path);

/// Files of a folder whose name `wanted` accepts, sorted; hidden ones and macOS' "._" companions are passed over.
/// @throws DataError when the folder cannot be listed.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder,
                                            const std::function<bool(const std::filesystem::path&)>& wanted);

/// Told of every oddity of a file that is usable all the same.
using WarningSink = std::function<void(const std::string& message)>;

/// A volume file, a folder with one DICOM series, or one file of a DICOM series, whose others lie in the same folder.
/// @throws DataError for anything else and everything that the format's reader refuses.
Volume read_volume(const std::filesystem::path& path, const WarningSink& warn = {});

/// Grid, type and channels without reading voxels.
struct VolumeInfo {
  Geometry geometry;
  DType dtype = DType::U8;  ///< that read_volume gives
  std::int64_t channels = 1;
};

VolumeInfo read_volume_info(const std::filesystem::path& path, const WarningSink& warn = {});

/// Completely or not at all. @throws DataError for an extension that is not known, RuntimeError when writing fails.
void write_volume(const std::filesystem::path& path, const Volume& volume);

}  // namespace medgen
