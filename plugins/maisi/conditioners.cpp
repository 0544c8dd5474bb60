// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/conditioners.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>

namespace medgen::maisi {
namespace {

using nlohmann::json;

constexpr float kConditionScale = 100.0F;  // released factor on spacing and one-hot regions
constexpr std::array<const char*, 4> kRegionNames = {"head-neck", "chest", "abdomen", "lower"};

// Codes of the released modality_mapping.json (sheet section 1.8).
const std::map<std::string, std::int64_t, std::less<>> kModalities = {
    {"unknown", 0}, {"ct", 1},   {"ct_wo", 2}, {"ct_contrast", 3}, {"mri", 8},  {"t1", 9},   {"t2", 10}, {"flair", 11},
    {"pd", 12},     {"dwi", 13}, {"adc", 14},  {"ssfp", 15},       {"mra", 16}, {"t1c", 17}, {"swi", 20}};

std::int64_t modality_code(const json& value) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  const auto name = value.get<std::string>();
  const auto found = kModalities.find(name);
  if (found != kModalities.end()) return found->second;
  std::string known;
  for (const auto& [each, code] : kModalities) known += (known.empty() ? "" : ", ") + each;
  throw sdk::invalid("modality '", name, "' is unknown; known: ", known, ", or a code");
}

std::int64_t region_index(const json& value, const char* key) {
  if (value.is_number_integer() && value >= 0 && value < 4) return value.get<std::int64_t>();
  if (value.is_string()) {
    for (std::size_t i = 0; i < kRegionNames.size(); ++i) {
      if (value == kRegionNames[i]) return static_cast<std::int64_t>(i);
    }
  }
  throw sdk::invalid(key, " is ", value.dump(), "; use head-neck, chest, abdomen, lower, or 0 to 3");
}

/// The body regions that a mask in MAISI's vocabulary shows (get_body_region_index_from_mask, sheet section 1.8).
std::set<std::int64_t> regions_of(const std::vector<std::int64_t>& labels) {
  static const std::array<std::set<std::int64_t>, 4> kOrgans = {
      {{22, 120}, {28, 29, 30, 31, 32}, {1, 2, 3, 4, 5, 14}, {93, 94}}};
  const std::set<std::int64_t> present(labels.begin(), labels.end());
  std::set<std::int64_t> regions;
  for (std::size_t r = 0; r < kOrgans.size(); ++r) {
    const bool hit =
        std::any_of(kOrgans[r].begin(), kOrgans[r].end(), [&](std::int64_t organ) { return present.contains(organ); });
    if (hit) regions.insert(static_cast<std::int64_t>(r));
  }
  return regions;
}

/// The regions of each mask (N, 1, X, Y, Z) of a batch; one empty set when there is no mask.
std::vector<std::set<std::int64_t>> regions_of_each(const sdk::Binds& in) {
  const auto mask = in.find("mask");
  if (!mask) return {{}};
  const std::vector<std::int64_t> labels = mask->to_vector<std::int64_t>();
  std::vector<std::set<std::int64_t>> regions;
  const auto voxels = static_cast<std::ptrdiff_t>(labels.size()) / std::max<std::int64_t>(mask->size(0), 1);
  for (auto from = labels.begin(); from != labels.end(); from += voxels)
    regions.push_back(regions_of({from, from + voxels}));
  return regions;
}

/// (rows, size), row by row.
void emit_rows(sdk::Outputs& out, const char* name, const std::vector<float>& values, std::size_t rows) {
  const std::array<std::int64_t, 2> shape{static_cast<std::int64_t>(rows),
                                          static_cast<std::int64_t>(values.size() / rows)};
  const sdk::Tensor tensor = out.allocate<float>(name, sdk::ShapeView(shape));
  std::copy(values.begin(), values.end(), tensor.values<float>().begin());
}

void emit_regions(sdk::Outputs& out, const char* name, const std::vector<std::int64_t>& regions) {
  std::vector<float> one_hot(regions.size() * kRegionNames.size(), 0.0F);
  for (std::size_t row = 0; row < regions.size(); ++row) {
    one_hot.at(row * kRegionNames.size() + static_cast<std::size_t>(regions[row])) = kConditionScale;
  }
  emit_rows(out, name, one_hot, regions.size());
}

json params_of(const sdk::Binds& in) {
  return in.params().empty() ? json::object() : json::parse(in.params());
}

}  // namespace

Conditions::Conditions(const sdk::Create& create) {
  const json config = json::parse(create.config());
  spacing_ = config.value("spacing", true);
  regions_ = config.value("regions", false);
  if (config.contains("modality")) modality_ = modality_code(config["modality"]);
}

void Conditions::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const json params = params_of(in);
  if (spacing_) {
    if (!params.contains("spacing_mm"))
      throw sdk::invalid("spacing_mm is missing: the model wants to know the voxel size");
    const auto spacing = params["spacing_mm"].get<std::vector<double>>();
    if (spacing.size() != 3) throw sdk::invalid("spacing_mm has ", spacing.size(), " values, expected 3");
    std::vector<float> scaled;
    for (const double mm : spacing) scaled.push_back(static_cast<float>(mm) * kConditionScale);
    emit_rows(out, "spacing", scaled, 1);
  }
  if (regions_) {
    std::vector<std::int64_t> top, bottom;
    for (const std::set<std::int64_t>& seen : regions_of_each(in)) {
      const auto region = [&](const char* key, auto of_mask) {
        if (params.contains(key)) return region_index(params[key], key);
        if (seen.empty())
          throw sdk::invalid(key, " is missing, and the mask shows none of the organs that tell the body region");
        return *of_mask;
      };
      top.push_back(region("top_region", seen.begin()));
      bottom.push_back(region("bottom_region", seen.rbegin()));
    }
    emit_regions(out, "top_region_index", top);
    emit_regions(out, "bottom_region_index", bottom);
  }
  if (modality_) {
    const std::int64_t code = params.contains("modality") ? modality_code(params["modality"]) : *modality_;
    const std::array<std::int64_t, 1> shape{1};
    out.allocate<float>("class_labels", sdk::ShapeView(shape)).values<float>()[0] =
        context.unconditional() ? 0.0F : static_cast<float>(code);
  }
}

LabelPlanes::LabelPlanes(const sdk::Create& create) {
  const json config = json::parse(create.config());
  bits_ = config.value("encoding", "bits") == "bits";
  if (config.contains("classes")) classes_ = config["classes"].get<std::vector<std::int64_t>>();
  if (!bits_ && classes_.empty()) throw sdk::invalid("encoding one_hot needs \"classes\", the label ids of the planes");
  planes_ = bits_ ? config.value("bits", 8) : static_cast<std::int64_t>(classes_.size());
  unshuffle_ = config.value("unshuffle", 1);
  output_ = config.value("output", "controlnet_cond");
  const json replacements = config.value("null_labels", json::object());
  for (const auto& [from, to] : replacements.items()) {
    if (from.empty() || from.size() > 9 ||
        !std::all_of(from.begin(), from.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      throw sdk::invalid("null_labels has the key '", from, "', which is no label id");
    }
    null_map_[std::stoll(from)] = to;
  }
}

bool LabelPlanes::plane(std::int64_t label, std::int64_t k) const {
  if (bits_) return ((label >> k) & 1) != 0;
  return label == classes_[static_cast<std::size_t>(k)];
}

void LabelPlanes::check_labels(const std::vector<std::int64_t>& labels) const {
  const std::int64_t most = bits_ ? (std::int64_t{1} << planes_) - 1 : std::int64_t{1} << 62;
  for (const std::int64_t label : labels) {
    if (label < 0 || label > most)
      throw sdk::invalid("the mask has the label ", label, "; ", planes_, " bit planes hold 0 to ", most);
  }
}

void LabelPlanes::null_labels(std::vector<std::int64_t>& labels) const {
  for (std::int64_t& label : labels) {
    const auto found = null_map_.find(label);
    if (null_map_.empty()) label = bits_ ? 0 : -1;
    if (found != null_map_.end()) label = found->second;
  }
}

void LabelPlanes::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const sdk::TensorView mask = in.tensor("mask").expect_shape({-1, 1, -1, -1, -1});
  std::vector<std::int64_t> labels = mask.to_vector<std::int64_t>();
  check_labels(labels);
  if (context.unconditional()) null_labels(labels);

  const std::int64_t n = unshuffle_;
  const std::array<std::int64_t, 3> size{mask.size(2), mask.size(3), mask.size(4)};
  for (const std::int64_t axis : size) {
    if (axis % n != 0)
      throw sdk::invalid("the mask has shape ", sdk::to_string(mask.shape()), "; its axes must be multiples of ", n);
  }
  const std::array<std::int64_t, 5> shape{mask.size(0), planes_ * n * n * n, size[0] / n, size[1] / n, size[2] / n};
  const auto values = out.allocate<float>(output_, sdk::ShapeView(shape)).values<float>();
  std::size_t i = 0;
  for (std::int64_t row = 0; row < shape[0]; ++row) {
    for (std::int64_t channel = 0; channel < shape[1]; ++channel) {
      const std::int64_t k = channel / (n * n * n);
      const std::array<std::int64_t, 3> offset{channel / (n * n) % n, channel / n % n, channel % n};
      for (std::int64_t x = offset[0]; x < size[0]; x += n) {
        for (std::int64_t y = offset[1]; y < size[1]; y += n) {
          const std::int64_t line = ((row * size[0] + x) * size[1] + y) * size[2];
          for (std::int64_t z = offset[2]; z < size[2]; z += n) {
            values[i++] = plane(labels[static_cast<std::size_t>(line + z)], k) ? 1.0F : 0.0F;
          }
        }
      }
    }
  }
}

}  // namespace medgen::maisi
