// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/volume/volume.h"

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// The format is told by the name; this lists those there are, for messages: ".nii, .nii.gz".
std::string supported_volume_formats();
bool is_volume_name(const std::filesystem::path& path);
/// The file name without folder and volume extension: "a/case_1.nii.gz" is "case_1".
/// @throws DataError when the extension is none of a volume, listing those there are.
std::string volume_stem(const std::filesystem::path& path);

/// Files of a folder whose name `wanted` accepts, sorted; hidden ones and macOS' "._" companions are passed over.
/// @throws DataError when the folder cannot be listed.
std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder,
                                            const std::function<bool(const std::filesystem::path&)>& wanted);

/// Told of every oddity of a file that is usable all the same.
using WarningSink = std::function<void(const std::string& message)>;

/// @throws DataError for an extension that is not known and everything that the format's reader refuses.
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
