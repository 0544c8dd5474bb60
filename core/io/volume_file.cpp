// SPDX-License-Identifier: Apache-2.0
#include "core/io/volume_file.h"

#include "core/base/error.h"
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

std::optional<std::string_view> extension_of(std::string_view name) {
  for (const std::string_view extension : kExtensions) {
    if (name.size() > extension.size() && name.ends_with(extension)) return extension;
  }
  return std::nullopt;
}

void require_known(const fs::path& path) {
  if (is_volume_name(path)) return;
  throw DataError("{}: not a volume file that medgen knows by its name; supported are {}", path.string(),
                  supported_volume_formats());
}

void tell(const NiftiHeader& header, const fs::path& path, const WarningSink& warn) {
  if (!warn) return;
  for (const std::string& warning : header.warnings) warn(fmt::format("{}: {}", path.string(), warning));
}

}  // namespace

std::string supported_volume_formats() {
  return fmt::format("{}", fmt::join(kExtensions.rbegin(), kExtensions.rend(), ", "));
}

bool is_volume_name(const fs::path& path) {
  return extension_of(path.filename().string()).has_value();
}

std::string volume_stem(const fs::path& path) {
  require_known(path);
  std::string name = path.filename().string();
  name.resize(name.size() - extension_of(name)->size());
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
  NiftiFile file = read_nifti(path);
  tell(file.header, path, warn);
  return std::move(file.volume);
}

VolumeInfo read_volume_info(const fs::path& path, const WarningSink& warn) {
  require_known(path);
  const NiftiHeader header = read_nifti_header(path);
  tell(header, path, warn);
  const std::int64_t channels = header.shape.size() == 4 ? header.shape.front() : 1;
  return {{xyz_of(header.shape), header.affine}, header.dtype, channels};
}

void write_volume(const fs::path& path, const Volume& volume) {
  require_known(path);
  write_nifti(path, volume);
}

}  // namespace medgen
