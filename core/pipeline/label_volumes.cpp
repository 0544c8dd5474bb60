// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/label_volumes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace medgen {
namespace {

constexpr double kMm3PerMl = 1000;

/// By name, or where there is no such name by its number.
std::optional<std::int64_t> find_label(const std::string& key, const LabelTable& labels) {
  if (const auto id = labels.find(key)) return id;
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size()) return std::nullopt;
  return labels.empty() || labels.names().contains(id) ? std::optional(id) : std::nullopt;
}

double four_digits(double value) {
  return std::stod(fmt::format("{:.4g}", value));
}

/// Linear between ranks, as numpy.quantile. @param sorted  not empty
std::vector<double> tenths_of(const std::vector<double>& sorted) {
  constexpr int kShares = 10;
  std::vector<double> tenths;
  for (int i = 0; i <= kShares; ++i) {
    const double rank = static_cast<double>(sorted.size() - 1) * i / kShares;
    const auto below = static_cast<std::size_t>(rank);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    tenths.push_back(four_digits(std::lerp(sorted[below], sorted[above], rank - static_cast<double>(below))));
  }
  return tenths;
}

}  // namespace

LabelVolumes LabelVolumes::read(const ConfigNode& data, const LabelTable& labels) {
  LabelVolumes result;
  if (!data.contains(kLabelVolumes)) return result;
  for (const auto& [key, node] : data.at(kLabelVolumes).members()) {
    const auto id = find_label(key, labels);
    if (!id) node.fail("is of no label: '{}' is not among the model's \"labels\"", key);
    auto volumes = node.as<std::vector<double>>();
    if (!std::is_sorted(volumes.begin(), volumes.end()))
      node.fail("must ascend, from the smallest volume to the largest");
    result.volumes_[*id] = std::move(volumes);
  }
  return result;
}

Json LabelVolumes::by_id() const {
  Json json = Json::object();
  for (const auto& [id, volumes] : volumes_) json[std::to_string(id)] = volumes;
  return json;
}

void LabelVolumeMeter::add(const Volume& label) {
  const Vec3 mm = label.spacing_mm();
  const double voxel_ml = mm[0] * mm[1] * mm[2] / kMm3PerMl;
  for (const auto& [id, voxels] : label_counts(label.voxels()))
    if (id != 0) of_cases_[id].push_back(static_cast<double>(voxels) * voxel_ml);
}

Json LabelVolumeMeter::measured(const LabelTable& labels) const {
  Json json = Json::object();
  for (auto [id, volumes] : of_cases_) {
    std::sort(volumes.begin(), volumes.end());
    const auto named = labels.names().find(id);
    json[named == labels.names().end() ? std::to_string(id) : named->second] = tenths_of(volumes);
  }
  return json;
}

}  // namespace medgen
