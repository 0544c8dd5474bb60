// SPDX-License-Identifier: Apache-2.0
#include "core/survey/suggestion.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>
#include <set>

namespace medgen {
namespace {

/// Lists of a number of each usable case.
struct Measured {
  std::array<std::vector<double>, 3> size, spacing;  // along x, y, z of RAS
  std::vector<double> minimum, high;                 // of the first channel: smallest value, highest percentile

  explicit Measured(const Survey& survey) {
    for (const CaseFacts& one : survey.cases) {
      if (!one.usable || one.images.empty() || one.intensities.empty()) continue;
      const Geometry grid = in_ras(one.images.front().geometry);
      const Vec3 sides = grid.affine.spacing_mm();
      for (std::size_t axis = 0; axis < 3; ++axis) {
        size[axis].push_back(static_cast<double>(grid.size[axis]));
        spacing[axis].push_back(sides[axis]);
      }
      minimum.push_back(one.intensities.front().minimum);
      high.push_back(one.intensities.front().percentiles.back());
    }
  }
};

double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

/// The middle voxel size, where they differ by more than a tenth: as a training warns of.
std::optional<Vec3> common_spacing(const Measured& measured) {
  constexpr double kAlike = 1.1;
  Vec3 middle{};
  bool mixed = false;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Spread spread = spread_of(measured.spacing[axis]);
    middle[axis] = rounded(spread.median);
    mixed = mixed || spread.maximum > kAlike * spread.minimum;
  }
  return mixed ? std::optional(middle) : std::nullopt;
}

/// What is measured when every case has this voxel size.
void bring_to(const Vec3& spacing_mm, Measured& measured) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (std::size_t i = 0; i < measured.size[axis].size(); ++i) {
      double& spacing = measured.spacing[axis][i];
      measured.size[axis][i] = std::max(1.0, std::round(measured.size[axis][i] * spacing / spacing_mm[axis]));
      spacing = spacing_mm[axis];
    }
  }
}

/// Of a length, for networks that halve it: MAISI's at full size want multiples of 32 (the VAE a quarter, the U-Net an
/// eighth of that); smaller ones are content with less.
std::int64_t halvable(std::int64_t length) {
  constexpr std::int64_t kLeast = 4;
  for (const std::int64_t step : {32, 16}) {
    if (length >= step) return length / step * step;
  }
  return std::max(length / kLeast * kLeast, kLeast);
}

/// As much of the middle case as networks that halve several times can take, at most 128^3 voxels in all.
std::array<std::int64_t, 3> crop_of(const Measured& measured) {
  constexpr std::int64_t kMostVoxels = 128 * 128 * 128;
  std::array<std::int64_t, 3> crop{};
  for (std::size_t axis = 0; axis < 3; ++axis)
    crop[axis] = halvable(static_cast<std::int64_t>(spread_of(measured.size[axis]).median));
  while (crop[0] * crop[1] * crop[2] > kMostVoxels) {
    std::int64_t& longest = *std::max_element(crop.begin(), crop.end());
    longest = halvable(longest - 1);
  }
  return crop;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// "ct", "mr", or "" when neither the channel's name nor the values say so.
std::string modality_of(const Survey& survey, const Measured& measured) {
  const std::string channel = survey.channels.empty() ? "" : lower(survey.channels.front());
  if (channel == "ct") return "ct";
  for (const char* name : {"mr", "t1", "t2", "flair", "adc", "dwi", "pd"}) {
    if (channel.starts_with(name)) return "mr";
  }
  // Air is about -1000 HU, and nothing but CT has values like that.
  const double air = spread_of(measured.minimum).median;
  return air <= -500 && air >= -5000 ? "ct" : "";
}

Json intensity_of(const std::string& modality) {
  if (modality == "ct") return {{"kind", "window"}, {"low", -1000}, {"high", 1000}};
  return {{"kind", "percentile"}, {"low", 0}, {"high", 99.5}};
}

/// A tenth more than what was seen.
Json spacing_of(const Measured& measured) {
  Json minimum = Json::array();
  Json maximum = Json::array();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Spread spread = spread_of(measured.spacing[axis]);
    minimum.push_back(rounded(0.9 * spread.minimum));
    maximum.push_back(rounded(1.1 * spread.maximum));
  }
  return {{"minimum", std::move(minimum)}, {"maximum", std::move(maximum)}};
}

/// Ids above 0 that every labelled usable case has, and those that any has.
struct Ids {
  std::set<std::int64_t> common, any;

  explicit Ids(const Survey& survey) {
    bool first = true;
    for (const CaseFacts& one : survey.cases) {
      if (!one.usable || one.labels.empty()) continue;
      std::set<std::int64_t> ids;
      for (const auto& [id, voxels] : one.labels) {
        if (id > 0) ids.insert(id);
      }
      any.insert(ids.begin(), ids.end());
      if (first) common = ids;
      std::erase_if(common, [&](std::int64_t id) { return !ids.contains(id); });
      first = false;
    }
  }
};

void add_labels(Json& data, const Survey& survey) {
  const Ids ids(survey);
  Json labels = Json::object();
  for (const auto& [id, name] : survey.table.names()) {
    if (id > 0) labels[name] = id;
  }
  for (const std::int64_t id : ids.any) {
    if (!survey.table.names().contains(id)) labels[fmt::format("label_{}", id)] = id;
  }
  if (!labels.empty()) data["labels"] = std::move(labels);
  if (!ids.common.empty()) data["expected_labels"] = ids.common;
}

/// The first one, which is what was measured, by name where it has one; null where there is no choice.
Json channel_of(const Survey& survey) {
  const auto several = [](const CaseFacts& one) { return one.usable && one.channels() > 1; };
  if (std::none_of(survey.cases.begin(), survey.cases.end(), several)) return {};
  return survey.channels.size() > 1 ? Json(survey.channels.front()) : Json(0);
}

}  // namespace

Json suggestion(const Survey& survey) {
  constexpr double kFractions = 50;  // below, whole numbers would be steps that one sees
  Measured measured(survey);
  if (measured.minimum.empty()) return Json::object();
  const std::optional<Vec3> resample = common_spacing(measured);
  if (resample) bring_to(*resample, measured);
  const std::string modality = modality_of(survey, measured);
  Json data = Json::object();
  if (!modality.empty()) data["modality"] = modality;
  data["orientation"] = "RAS";
  data["spacing_mm"] = spacing_of(measured);
  data["intensity"] = intensity_of(modality);
  add_labels(data, survey);
  data["output"] = spread_of(measured.high).median < kFractions && modality != "ct" ? "float32" : "int16";
  Json step = {{"crop", crop_of(measured)}, {"crop_at", "random"}, {"data", std::move(data)}};
  if (resample) step["resample_mm"] = *resample;
  if (const Json channel = channel_of(survey); !channel.is_null()) step["channel"] = channel;
  return step;
}

}  // namespace medgen
