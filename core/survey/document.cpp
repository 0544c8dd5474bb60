// SPDX-License-Identifier: Apache-2.0
#include "core/survey/document.h"

#include "core/survey/suggestion.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>

namespace medgen {
namespace {

/// The spread of a number over all cases.
std::array<Spread, 3> along_axes(const Survey& survey, const std::function<Vec3(const Geometry&)>& measure) {
  std::array<std::vector<double>, 3> values;
  for (const CaseFacts& one : survey.cases) {
    const VolumeFacts* const grid = one.grid();
    if (grid == nullptr) continue;
    const Vec3 of_case = measure(in_ras(grid->geometry));
    for (std::size_t axis = 0; axis < 3; ++axis) values[axis].push_back(of_case[axis]);
  }
  return {spread_of(values[0]), spread_of(values[1]), spread_of(values[2])};
}

Vec3 voxels_of(const Geometry& grid) {
  Vec3 size{};
  for (std::size_t axis = 0; axis < 3; ++axis) size[axis] = static_cast<double>(grid.size[axis]);
  return size;
}

Vec3 extent_of(const Geometry& grid) {
  Vec3 extent = voxels_of(grid);
  for (std::size_t axis = 0; axis < 3; ++axis) extent[axis] *= grid.affine.spacing_mm()[axis];
  return extent;
}

Summary::Channel summarize_channel(const Survey& survey, std::size_t channel) {
  const auto spread = [&](const std::function<double(const IntensityFacts&)>& value) {
    std::vector<double> values;
    for (const CaseFacts& one : survey.cases) {
      if (channel < one.intensities.size()) values.push_back(value(one.intensities[channel]));
    }
    return spread_of(std::move(values));
  };
  Summary::Channel result;
  result.minimum = spread([](const IntensityFacts& facts) { return facts.minimum; });
  result.maximum = spread([](const IntensityFacts& facts) { return facts.maximum; });
  for (std::size_t p = 0; p < kPercents.size(); ++p)
    result.percentiles[p] = spread([p](const IntensityFacts& facts) { return facts.percentiles[p]; });
  return result;
}

void summarize_labels(const Survey& survey, Summary& summary) {
  std::uint64_t all = 0;
  for (const CaseFacts& one : survey.cases) {
    if (one.label) {
      ++summary.labelled;
      ++summary.label_types[std::string(name_of(one.label->dtype))];
    }
    for (const auto& [id, voxels] : one.labels) {
      Summary::Label& label = summary.labels[id];
      ++label.cases;
      label.voxels += voxels;
      all += voxels;
    }
  }
  for (const auto& [id, name] : survey.table.names()) summary.labels[id].name = name;
  for (auto& [id, label] : summary.labels)
    label.share = all == 0 ? 0 : static_cast<double>(label.voxels) / static_cast<double>(all);
}

Json spread_json(const Spread& spread) {
  return {{"minimum", spread.minimum}, {"median", spread.median}, {"maximum", spread.maximum}};
}

/// {"minimum": [x, y, z], "median": ..., "maximum": ...}
Json axes_json(const std::array<Spread, 3>& axes) {
  return {{"minimum", {axes[0].minimum, axes[1].minimum, axes[2].minimum}},
          {"median", {axes[0].median, axes[1].median, axes[2].median}},
          {"maximum", {axes[0].maximum, axes[1].maximum, axes[2].maximum}}};
}

std::string percent_key(std::size_t p) {
  return fmt::format("p{:g}", kPercents[p]);
}

Json channel_json(const Summary::Channel& channel) {
  Json json = {{"minimum", spread_json(channel.minimum)}};
  for (std::size_t p = 0; p < kPercents.size(); ++p) json[percent_key(p)] = spread_json(channel.percentiles[p]);
  json["maximum"] = spread_json(channel.maximum);
  return json;
}

Json label_json(std::int64_t id, const Summary::Label& label) {
  Json json = {{"id", id}, {"name", nullptr}, {"cases", label.cases}, {"voxels", label.voxels}, {"share", label.share}};
  if (!label.name.empty()) json["name"] = label.name;
  return json;
}

Json summary_json(const Survey& survey) {
  const Summary summary = summarize(survey);
  Json intensity = Json::array();
  for (const Summary::Channel& channel : summary.channels) intensity.push_back(channel_json(channel));
  Json labels = Json::array();
  for (const auto& [id, label] : summary.labels) labels.push_back(label_json(id, label));
  return {{"cases", survey.cases.size()},
          {"usable", survey.usable()},
          {"labelled", summary.labelled},
          {"size", axes_json(summary.size)},
          {"spacing_mm", axes_json(summary.spacing_mm)},
          {"fov_mm", axes_json(summary.fov_mm)},
          {"orientations", summary.orientations},
          {"types", summary.types},
          {"label_types", summary.label_types},
          {"intensity", std::move(intensity)},
          {"labels", std::move(labels)}};
}

Json volume_json(const VolumeFacts& volume) {
  return {{"file", volume.file.string()},
          {"size", volume.geometry.size},
          {"spacing_mm", volume.geometry.affine.spacing_mm()},
          {"orientation", volume.geometry.affine.orientation()},
          {"type", name_of(volume.dtype)},
          {"channels", volume.channels}};
}

Json intensity_json(const IntensityFacts& facts) {
  Json json = {{"minimum", facts.minimum}};
  for (std::size_t p = 0; p < kPercents.size(); ++p) json[percent_key(p)] = facts.percentiles[p];
  json["maximum"] = facts.maximum;
  json["not_finite"] = facts.not_finite;
  return json;
}

Json case_json(const CaseFacts& one) {
  Json images = Json::array();
  for (const VolumeFacts& image : one.images) images.push_back(volume_json(image));
  Json intensity = Json::array();
  for (const IntensityFacts& facts : one.intensities) intensity.push_back(intensity_json(facts));
  Json labels = Json::object();
  for (const auto& [id, voxels] : one.labels) labels[std::to_string(id)] = voxels;
  return {{"name", one.name},
          {"usable", one.usable},
          {"images", std::move(images)},
          {"intensity", std::move(intensity)},
          {"label", one.label ? volume_json(*one.label) : Json()},
          {"labels", std::move(labels)}};
}

}  // namespace

Summary summarize(const Survey& survey) {
  Summary summary;
  summary.size = along_axes(survey, voxels_of);
  summary.spacing_mm = along_axes(survey, [](const Geometry& grid) { return grid.affine.spacing_mm(); });
  summary.fov_mm = along_axes(survey, extent_of);
  std::size_t channels = 0;
  for (const CaseFacts& one : survey.cases) {
    for (const VolumeFacts& image : one.images) ++summary.types[std::string(name_of(image.dtype))];
    if (const VolumeFacts* grid = one.grid()) ++summary.orientations[grid->geometry.affine.orientation()];
    channels = std::max(channels, one.intensities.size());
  }
  for (std::size_t c = 0; c < channels; ++c) summary.channels.push_back(summarize_channel(survey, c));
  summarize_labels(survey, summary);
  return summary;
}

Json survey_document(const Survey& survey) {
  Json cases = Json::array();
  for (const CaseFacts& one : survey.cases) cases.push_back(case_json(one));
  Json findings = Json::array();
  for (const Finding& finding : survey.findings) {
    const char* severity = finding.severity == Finding::Severity::Error ? "error" : "warning";
    Json subject = finding.subject.empty() ? Json() : Json(finding.subject);
    findings.push_back({{"severity", severity}, {"case", std::move(subject)}, {"text", finding.text}});
  }
  return {{"ok", survey.ok()},
          {"name", survey.name},
          {"channels", survey.channels},
          {"summary", summary_json(survey)},
          {"findings", std::move(findings)},
          {"suggested", suggestion(survey)},
          {"cases", std::move(cases)}};
}

}  // namespace medgen
