// SPDX-License-Identifier: Apache-2.0
#include "core/dicom/dicom.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/dicom/slice.h"
#include "core/dicom/slice_file.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace medgen {
namespace {

namespace fs = std::filesystem;
using dicom::Slice;

constexpr std::size_t kPreamble = 128;

bool may_be_image(const fs::path& path) {
  const std::string name = path.filename().string();
  std::error_code ignored;
  return !name.starts_with('.') && name != "DICOMDIR" && fs::is_regular_file(path, ignored);
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (may_be_image(entry->path())) files.push_back(entry->path());
  }
  if (error) throw DataError("{}: cannot be listed: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  return files;
}

struct Series {
  std::vector<Slice> slices;
  std::string problem;  ///< of the first file that cannot be part of a volume
};

/// The images of a folder.
struct Found {
  std::map<std::string, Series> series;  ///< by their UID
  std::vector<std::string> warnings;

  std::size_t usable() const {
    return static_cast<std::size_t>(
        std::count_if(series.begin(), series.end(), [](const auto& entry) { return !entry.second.slices.empty(); }));
  }
};

void add(Found& found, const dicom::FileImages& images) {
  Series& series = found.series[images.series_uid];
  series.slices.insert(series.slices.end(), images.slices.begin(), images.slices.end());
  if (series.problem.empty()) series.problem = images.problem;
}

Found find_series(const fs::path& folder) {
  Found found;
  std::size_t others = 0, without_image = 0;
  for (const fs::path& file : files_of(folder)) {
    const bool is_dicom = is_dicom_file(file);
    const dicom::FileImages images = is_dicom ? dicom::read_images(file) : dicom::FileImages();
    others += !is_dicom;
    without_image += is_dicom && images.series_uid.empty();
    if (!images.series_uid.empty()) add(found, images);
  }
  if (others > 0) found.warnings.push_back(fmt::format("{} files are no DICOM and were passed over", others));
  if (without_image > 0) {
    found.warnings.push_back(fmt::format("{} DICOM files hold no image and were passed over", without_image));
  }
  if (found.series.empty()) throw DataError("{}: holds no DICOM image", folder.string());
  return found;
}

[[noreturn]] void ask_for_choice(const fs::path& folder, const Found& found) {
  std::string list;
  for (const auto& [uid, series] : found.series) {
    if (series.slices.empty()) continue;
    const Slice& first = series.slices.front();
    list += fmt::format("\n  {} ({} '{}', {} x {}, {} slices): {}", uid, first.modality, first.description,
                        first.columns, first.rows, series.slices.size(), first.file.string());
  }
  throw DataError("{}: holds {} DICOM series; name one file of the one that is meant instead of the folder:{}",
                  folder.string(), found.usable(), list);
}

/// The one series of a folder; those that are no volumes (screen shots, dose reports) do not count.
std::string only_series(const fs::path& folder, Found& found) {
  if (found.usable() == 0) throw DataError("{}", found.series.begin()->second.problem);
  if (found.usable() > 1) ask_for_choice(folder, found);
  std::string only;
  for (const auto& [uid, series] : found.series) {
    if (series.slices.empty()) {
      found.warnings.push_back(fmt::format("the series {} was passed over: {}", uid, series.problem));
    } else {
      only = uid;
    }
  }
  return only;
}

/// The slices of the series that `path` stands for, and what was odd about its folder.
std::vector<Slice> chosen_series(const fs::path& path, std::vector<std::string>& warnings) {
  std::string uid;
  fs::path folder = path;
  if (!fs::is_directory(path)) {
    uid = dicom::read_images(path).series_uid;
    if (uid.empty()) throw DataError("{}: is DICOM, but holds no image", path.string());
    folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  }
  Found found = find_series(folder);
  if (uid.empty()) {
    uid = only_series(folder, found);
    warnings = found.warnings;
  }
  Series& series = found.series.at(uid);
  if (!series.problem.empty()) throw DataError("{}", series.problem);
  return std::move(series.slices);
}

struct Opened {
  DicomSeries series;
  std::vector<Slice> slices;
};

Opened open_series(const fs::path& path) {
  Opened opened;
  DicomSeries& series = opened.series;
  dicom::Stack stack = dicom::stack(chosen_series(path, series.warnings));
  const Slice& first = stack.slices.front();
  series.uid = first.series_uid;
  series.modality = first.modality;
  series.description = first.description;
  series.geometry = stack.geometry;
  series.dtype = dicom::value_type(stack.slices);
  series.warnings.insert(series.warnings.end(), stack.warnings.begin(), stack.warnings.end());
  if (first.pixels.inverted) series.warnings.emplace_back("MONOCHROME1: turned round, so that more is brighter");
  for (const Slice& slice : stack.slices) {
    if (series.files.empty() || series.files.back() != slice.file) series.files.push_back(slice.file);
  }
  opened.slices = std::move(stack.slices);
  return opened;
}

/// Every frame goes to the plane of its slice.
Tensor read_voxels(const Opened& opened) {
  const auto [columns, rows, count] = opened.series.geometry.size;
  Tensor voxels(opened.series.dtype, zyx_of(opened.series.geometry.size));
  auto* const bytes = static_cast<std::byte*>(voxels.data());
  const std::size_t plane = static_cast<std::size_t>(columns * rows) * size_of(voxels.dtype());
  std::map<fs::path, std::map<std::int64_t, std::size_t>> places;
  for (std::size_t z = 0; z < opened.slices.size(); ++z) {
    places[opened.slices[z].file][opened.slices[z].frame] = z;
  }
  for (const auto& [file, of_frame] : places) {
    dicom::read_frames(opened.slices[of_frame.begin()->second], [&, &of = of_frame](std::int64_t frame, const void* p) {
      const auto place = of.find(frame);
      if (place == of.end()) return;
      const Slice& slice = opened.slices[place->second];
      dicom::convert_pixels(slice.pixels, p, slice.columns * slice.rows, voxels.dtype(), bytes + place->second * plane);
    });
  }
  return voxels;
}

}  // namespace

bool is_dicom_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::array<std::byte, kPreamble + 4> begin{};
  InputFile file(path);
  return file.read(begin) == begin.size() && std::memcmp(begin.data() + kPreamble, "DICM", 4) == 0;
}

bool is_dicom_folder(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return false;
  const std::vector<fs::path> files = files_of(path);
  return std::any_of(files.begin(), files.end(), is_dicom_file);
}

DicomSeries read_dicom_info(const fs::path& path) {
  return open_series(path).series;
}

DicomVolume read_dicom(const fs::path& path) {
  Opened opened = open_series(path);
  Tensor voxels = read_voxels(opened);
  return {Volume(std::move(voxels), opened.series.geometry.affine), std::move(opened.series)};
}

}  // namespace medgen
