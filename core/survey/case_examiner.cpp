// SPDX-License-Identifier: Apache-2.0
#include "core/survey/case_examiner.h"

#include "core/base/error.h"
#include "core/io/volume_file.h"
#include "core/volume/grid_difference.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <new>

namespace medgen {
namespace {

VolumeFacts facts_of(const Volume& volume, const std::filesystem::path& file) {
  return {file, volume.geometry(), volume.dtype(), volume.channels()};
}

/// One channel of a volume.
Tensor channel_of(const Volume& volume, std::int64_t channel) {
  return volume.has_channels() ? volume.voxels().rows(channel, 1) : volume.voxels();
}

/// A file, or a folder that may hold a series.
bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

}  // namespace

template <typename... Args>
void CaseExaminer::warn(fmt::format_string<Args...> format, Args&&... args) {
  findings_.push_back({Finding::Severity::Warning, facts_.name, fmt::format(format, std::forward<Args>(args)...)});
}

template <typename... Args>
void CaseExaminer::refuse(fmt::format_string<Args...> format, Args&&... args) {
  findings_.push_back({Finding::Severity::Error, facts_.name, fmt::format(format, std::forward<Args>(args)...)});
  facts_.usable = false;
}

CaseFacts CaseExaminer::read(const Case& one, std::size_t number, const CaseViewer& viewer) {
  facts_ = {};
  facts_.name = one.name;
  std::optional<Volume> first;
  for (const auto& file : one.images) {
    std::optional<Volume> image = open(file);
    if (!image) continue;
    look_at_image(*image, file);
    if (!first) first = std::move(image);
  }
  const std::optional<Volume> label = one.label ? look_at_label(*one.label) : std::nullopt;
  if (viewer && first) viewer(number, *first, label);
  return std::move(facts_);
}

/// Nothing when it cannot be read.
std::optional<Volume> CaseExaminer::open(const std::filesystem::path& file) {
  if (!is_there(file)) {  // the search for cases has told so
    facts_.usable = false;
    return std::nullopt;
  }
  const std::string prefix = file.string() + ": ";
  try {
    return read_volume(file, [&](const std::string& message) {
      warn("{}", message.starts_with(prefix) ? message.substr(prefix.size()) : message);
    });
  } catch (const std::bad_alloc&) {
    refuse("{}is too large for the memory of this machine", prefix);
  } catch (const Error& error) {
    refuse("{}", error.what());
  }
  return std::nullopt;
}

void CaseExaminer::look_at_image(const Volume& image, const std::filesystem::path& file) {
  VolumeFacts facts = facts_of(image, file);
  if (!facts_.images.empty()) compare_grids(facts_.images.front().geometry, facts, file.filename().string());
  for (std::int64_t channel = 0; channel < image.channels(); ++channel) {
    const std::string what = image.has_channels() ? fmt::format("channel {}", channel) : "the image";
    look_at_channel(channel_of(image, channel), what);
  }
  facts_.images.push_back(std::move(facts));
}

void CaseExaminer::look_at_channel(const Tensor& voxels, const std::string& what) {
  const auto facts = intensity_facts(voxels);
  if (!facts) return refuse("no voxel of {} is a finite number", what);
  facts_.intensities.push_back(*facts);
  if (facts->not_finite > 0) refuse("{} voxels of {} are NaN or infinite", facts->not_finite, what);
  if (facts->minimum == facts->maximum) refuse("{} is constant: every voxel is {:g}", what, facts->minimum);
}

/// The map as integers; nothing when it is none.
std::optional<Volume> CaseExaminer::look_at_label(const std::filesystem::path& file) {
  const std::optional<Volume> read = open(file);
  if (!read) return std::nullopt;
  facts_.label = facts_of(*read, file);
  if (!facts_.images.empty()) compare_grids(facts_.images.front().geometry, *facts_.label, "the label map");
  if (read->has_channels()) {
    refuse("the label map is 4D, with {} channels", read->channels());
    return std::nullopt;
  }
  try {
    Volume labels = as_labels(*read);
    facts_.labels = label_counts(labels.voxels());
    look_at_ids();
    return labels;
  } catch (const DataError& error) {
    refuse("{}: {}", file.string(), error.what());
    return std::nullopt;
  }
}

void CaseExaminer::look_at_ids() {
  std::vector<std::int64_t> unknown, negative;
  for (const auto& [id, voxels] : facts_.labels) {
    if (id < 0) negative.push_back(id);
    if (id > 0 && !table_.empty() && !table_.names().contains(id)) unknown.push_back(id);
  }
  if (!negative.empty()) refuse("the label map has negative ids: {}", fmt::join(negative, ", "));
  if (!unknown.empty()) refuse("the label map has ids that the label table lacks: {}", fmt::join(unknown, ", "));
  if (facts_.labels.size() == 1 && facts_.labels.contains(0)) warn("the label map is empty: every voxel is 0");
}

void CaseExaminer::compare_grids(const Geometry& image, const VolumeFacts& other, const std::string& what) {
  const auto difference = grid_difference(image, other.geometry, what);
  if (!difference) return;
  if (difference->usable) return warn("{}", difference->message);
  refuse("{}", difference->message);
}

}  // namespace medgen
