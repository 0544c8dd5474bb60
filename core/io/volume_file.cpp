// SPDX-License-Identifier: Apache-2.0
#include "core/io/volume_file.h"

#include "core/base/error.h"
#include "core/dicom/dicom.h"
#include "core/io/nifti.h"
#include "core/volume/axis_order.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 2> kExtensions = {".nii.gz", ".nii"};
constexpr std::string_view kDicomExtension = ".dcm";

std::optional<std::string_view> extension_of(std::string_view name) {
  for (const std::string_view extension : kExtensions) {
    if (name.size() > extension.size() && name.ends_with(extension)) return extension;
  }
  return std::nullopt;
}

std::string name_list() {
  return fmt::format("{}", fmt::join(kExtensions.rbegin(), kExtensions.rend(), ", "));
}

bool is_dicom(const fs::path& path) {
  return is_dicom_file(path) || is_dicom_folder(path);
}

void require_known(const fs::path& path) {
  if (is_volume_name(path) || is_dicom(path)) return;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    throw DataError("{}: a folder without a DICOM series; supported are {}", path.string(), supported_volume_formats());
  }
  throw DataError("{}: not a volume file that medgen knows by its name; supported are {}", path.string(),
                  supported_volume_formats());
}

void tell(const std::vector<std::string>& warnings, const fs::path& path, const WarningSink& warn) {
  if (!warn) return;
  for (const std::string& warning : warnings) warn(fmt::format("{}: {}", path.string(), warning));
}

/// The last part of a path, also where it ends in a slash.
std::string last_name(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

}  // namespace

std::string supported_volume_formats() {
  return name_list() + ", DICOM series";
}

bool is_volume_name(const fs::path& path) {
  return extension_of(path.filename().string()).has_value();
}

bool is_volume(const fs::path& path) {
  return is_volume_name(path) || is_dicom_folder(path);
}

std::string volume_stem(const fs::path& path) {
  std::string name = last_name(path);
  if (const auto extension = extension_of(name)) return name.substr(0, name.size() - extension->size());
  require_known(path);
  const bool is_slice = name.size() > kDicomExtension.size() && name.ends_with(kDicomExtension);
  if (is_slice && !fs::is_directory(path)) name.resize(name.size() - kDicomExtension.size());
  return name;
}

std::vector<fs::path> files_in(const fs::path& folder, const std::function<bool(const fs::path&)>& wanted) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    if (!path.filename().string().starts_with('.') && wanted(path)) files.push_back(path);
  }
  if (error) throw DataError("{}: cannot be listed: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  return files;
}

Volume read_volume(const fs::path& path, const WarningSink& warn) {
  require_known(path);
  if (!is_volume_name(path)) {
    DicomVolume read = read_dicom(path);
    tell(read.series.warnings, path, warn);
    return std::move(read.volume);
  }
  NiftiFile file = read_nifti(path);
  tell(file.header.warnings, path, warn);
  return std::move(file.volume);
}

VolumeInfo read_volume_info(const fs::path& path, const WarningSink& warn) {
  require_known(path);
  if (!is_volume_name(path)) {
    const DicomSeries series = read_dicom_info(path);
    tell(series.warnings, path, warn);
    return {series.geometry, series.dtype, 1};
  }
  const NiftiHeader header = read_nifti_header(path);
  tell(header.warnings, path, warn);
  const std::int64_t channels = header.shape.size() == 4 ? header.shape.front() : 1;
  return {{xyz_of(header.shape), header.affine}, header.dtype, channels};
}

void write_volume(const fs::path& path, const Volume& volume) {
  if (!is_volume_name(path)) {
    throw DataError("{}: not the name of a volume file that medgen writes; supported are {}", path.string(),
                    name_list());
  }
  write_nifti(path, volume);
}

}  // namespace medgen
