// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"
#include "core/io/dataset.h"
#include "core/io/nifti.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEnding = ".nii.gz";
constexpr double kSamePlaceMm = 1e-3;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw RuntimeError("{}: cannot be created: {}", folder.string(), error.message());
}

void check_name(const std::string& name) {
  const bool usable =
      !name.empty() && name.front() != '.' && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
  if (!usable) throw DataError("'{}' cannot be the name of a case: it must be usable as a file name", name);
}

/// One channel as a volume of its own, sharing the voxels.
Volume channel_of(const Volume& image, std::int64_t channel) {
  if (!image.has_channels()) return image;
  const Shape& shape = image.voxels().shape();
  return Volume(image.voxels().rows(channel, 1).reshape(Shape(shape.begin() + 1, shape.end())), image.affine());
}

void check_label(const std::string& name, const Volume& image, const Volume& label, const LabelTable& table) {
  if (label.has_channels() || !(largest_difference_mm(image.geometry(), label.geometry()) <= kSamePlaceMm)) {
    throw DataError("case '{}': the label map is not on the image's grid ({} against {})", name,
                    to_string(label.voxels().shape()), to_string(image.voxels().shape()));
  }
  for (const std::int64_t id : label_ids(label.voxels())) {
    if (id != 0 && !table.names().contains(id)) {
      throw DataError("case '{}': the label map holds the id {}, which has no name in the label table", name, id);
    }
  }
}

}  // namespace

DatasetWriter::DatasetWriter(fs::path folder, std::string name, std::vector<std::string> channels, LabelTable labels)
    : folder_(std::move(folder)), name_(std::move(name)), channels_(std::move(channels)), labels_(std::move(labels)) {
  if (channels_.empty()) throw DataError("{}: a data set needs at least one channel", folder_.string());
  make_folder(folder_ / "imagesTr");
  make_folder(folder_ / "labelsTr");
}

fs::path DatasetWriter::image_path(const std::string& name, std::size_t channel) const {
  return folder_ / "imagesTr" / fmt::format("{}_{:04}{}", name, channel, kEnding);
}

fs::path DatasetWriter::label_path(const std::string& name) const {
  return folder_ / "labelsTr" / fmt::format("{}{}", name, kEnding);
}

bool DatasetWriter::contains(const std::string& name) const {
  bool all = fs::exists(label_path(name));
  for (std::size_t c = 0; c < channels_.size(); ++c) all = all && fs::exists(image_path(name, c));
  return all;
}

void DatasetWriter::add(const std::string& name, const Volume& image, const std::optional<Volume>& label) {
  check_name(name);
  if (image.channels() != static_cast<std::int64_t>(channels_.size())) {
    throw DataError("case '{}': the image has {} channels, the data set {}", name, image.channels(), channels_.size());
  }
  if (label) check_label(name, image, *label, labels_);
  for (std::size_t c = 0; c < channels_.size(); ++c) {
    write_nifti(image_path(name, c), channel_of(image, static_cast<std::int64_t>(c)));
  }
  if (label) write_nifti(label_path(name), as_labels(*label));
}

void DatasetWriter::finish() const {
  Json channels = Json::object();
  for (std::size_t c = 0; c < channels_.size(); ++c) channels[std::to_string(c)] = channels_[c];
  Json labels = Json::object();
  if (!labels_.names().contains(0)) labels["background"] = 0;
  for (const auto& [id, name] : labels_.names()) labels[name] = id;
  const auto is_label = [](const fs::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    return !name.starts_with('.') && name.ends_with(kEnding);
  };
  const auto cases = std::count_if(fs::directory_iterator(folder_ / "labelsTr"), fs::directory_iterator(), is_label);
  const Json description = {{"name", name_},
                            {"channel_names", std::move(channels)},
                            {"labels", std::move(labels)},
                            {"numTraining", cases},
                            {"file_ending", kEnding}};
  write_file(folder_ / "dataset.json", dump_pretty(description));
}

}  // namespace medgen
