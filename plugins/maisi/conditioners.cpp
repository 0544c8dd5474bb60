// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/conditioners.h"

#include "kernels/label_planes.h"
#include "plugins/maisi/modality.h"
#include "plugins/maisi/params.h"
#include "plugins/support/nn/planes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <type_traits>

namespace medgen::maisi {
namespace {

using nlohmann::json;

constexpr float kConditionScale = 100.0F;  // released factor on spacing and one-hot regions

/// Names of the four body regions; the first of each is its main one.
const std::array<std::vector<std::string_view>, 4> kRegionNames = {
    {{"head-neck", "head"}, {"chest", "thorax"}, {"abdomen"}, {"lower", "pelvis"}}};

std::int64_t asked_modality(const json& value) {
  if (value.is_string()) return modality_code(value.get<std::string>());
  if (value.is_number_integer()) return value.get<std::int64_t>();
  throw sdk::invalid("modality is ", value.dump(), "; a name or a code is wanted");
}

std::int64_t region_index(const json& value, const char* key) {
  if (value.is_number_integer() && value >= 0 && value < 4) return value.get<std::int64_t>();
  for (std::size_t i = 0; value.is_string() && i < kRegionNames.size(); ++i) {
    const auto& names = kRegionNames[i];
    if (std::find(names.begin(), names.end(), value.get<std::string>()) != names.end())
      return static_cast<std::int64_t>(i);
  }
  throw sdk::invalid(key, " is ", value.dump(),
                     "; use head-neck (head), chest (thorax), abdomen, lower (pelvis), or 0 to 3");
}

/// Top is the region nearest to the head.
void check_region_order(std::int64_t top, std::int64_t bottom) {
  const auto name = [](std::int64_t region) { return kRegionNames.at(static_cast<std::size_t>(region)).front(); };
  if (top > bottom)
    throw sdk::invalid("top_region is ", name(top), ", below bottom_region, which is ", name(bottom),
                       "; exchange them");
}

/// The body regions that a mask in MAISI's vocabulary shows (get_body_region_index_from_mask).
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

}  // namespace

Conditions::Conditions(const sdk::Create& create) {
  const json config = json::parse(create.config());
  spacing_ = config.value("spacing", true);
  regions_ = config.value("regions", false);
  modalities_ = config.value("num_class_embeds", modalities_);
  if (!config.contains("modality")) return;
  modality_ = asked_modality(config["modality"]);
  check_modality(*modality_);
}

void Conditions::check_modality(std::int64_t code) const {
  if (code < 0 || code >= modalities_)
    throw sdk::invalid("modality ", code, " is no code of this model, which has 0 to ", modalities_ - 1);
  const bool mixed = (is_ct(*modality_) && is_mr(code)) || (is_mr(*modality_) && is_ct(code));
  if (mixed)
    throw sdk::invalid("modality ", modality_name(code), " would be ", is_ct(code) ? "CT" : "MR",
                       ", but this model's images are ", is_ct(*modality_) ? "CT" : "MR",
                       ": their intensities would be wrong; use a method of the other kind");
}

void Conditions::refuse_unused(std::string_view params_json) const {
  const json params = params_json.empty() ? json::object() : json::parse(params_json);
  const auto refuse = [&](const char* key, const char* why) {
    if (params.contains(key)) throw sdk::invalid(key, " was given, but ", why);
  };
  if (!modality_) refuse("modality", "this model knows no modalities");
  for (const char* key : {"top_region", "bottom_region"}) {
    if (!regions_) refuse(key, "this model takes no body regions");
  }
}

void Conditions::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const json params = params_of(in);
  refuse_unused(in.params());
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
      check_region_order(top.back(), bottom.back());
    }
    emit_regions(out, "top_region_index", top);
    emit_regions(out, "bottom_region_index", bottom);
  }
  if (modality_) {
    const std::int64_t code = params.contains("modality") ? asked_modality(params["modality"]) : *modality_;
    check_modality(code);
    const std::array<std::int64_t, 1> shape{1};
    out.allocate<float>("class_labels", sdk::ShapeView(shape)).values<float>()[0] =
        context.unconditional() ? 0.0F : static_cast<float>(code);
  }
}

/// A few numbers for each sample; the labels of a mask are looked at in 64 bits.
std::string Conditions::estimate(std::string_view request_json) const {
  const json inputs = json::parse(request_json).at("inputs");
  double mask = 0;
  if (regions_ && inputs.contains("mask")) {
    mask = sizeof(std::int64_t);
    for (const json& axis : inputs["mask"]) mask *= axis.get<double>();
  }
  return json{{"peak_bytes", static_cast<std::uint64_t>(mask)}, {"flops", 0}}.dump();
}

LabelPlanes::LabelPlanes(const sdk::Create& create)
    : null_labels_(json::parse(create.config()).value("null_labels", json::object())) {
  const json config = json::parse(create.config());
  bits_ = config.value("encoding", "bits") == "bits";
  if (config.contains("classes")) classes_ = config["classes"].get<std::vector<std::int64_t>>();
  if (!bits_ && classes_.empty()) throw sdk::invalid("encoding one_hot needs \"classes\", the label ids of the planes");
  planes_ = bits_ ? config.value("bits", 8) : static_cast<std::int64_t>(classes_.size());
  unshuffle_ = config.value("unshuffle", 1);
  output_ = config.value("output", "controlnet_cond");
}

void LabelPlanes::check_labels(const std::vector<std::int64_t>& labels) const {
  const std::int64_t most = bits_ ? (std::int64_t{1} << planes_) - 1 : std::int64_t{1} << 62;
  for (const std::int64_t label : labels) {
    if (label < 0 || label > most)
      throw sdk::invalid("the mask has the label ", label, "; ", planes_, " bit planes hold 0 to ", most);
  }
}

void LabelPlanes::make_null(std::span<std::int64_t> labels, const std::array<std::int64_t, 3>& size) const {
  if (null_labels_.empty()) std::fill(labels.begin(), labels.end(), bits_ ? 0 : -1);
  const auto voxels = static_cast<std::size_t>(size[0] * size[1] * size[2]);
  for (std::size_t row = 0; voxels > 0 && row < labels.size(); row += voxels) {
    null_labels_.apply(labels.subspan(row, voxels), size);
  }
}

void LabelPlanes::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const sdk::TensorView mask = in.tensor("mask").expect_shape({-1, 1, -1, -1, -1});
  std::vector<std::int64_t> labels = mask.to_vector<std::int64_t>();
  const std::array<std::int64_t, 3> size{mask.size(2), mask.size(3), mask.size(4)};
  check_labels(labels);
  if (context.unconditional()) make_null(labels, size);

  const std::int64_t n = unshuffle_;
  for (const std::int64_t axis : size) {
    if (axis % n != 0)
      throw sdk::invalid("the mask has shape ", sdk::to_string(mask.shape()), "; its axes must be multiples of ", n);
  }
  const std::array<std::int64_t, 5> shape{mask.size(0), planes_ * n * n * n, size[0] / n, size[1] / n, size[2] / n};
  const auto values = out.allocate<float>(output_, sdk::ShapeView(shape)).values<float>();
  const auto fill = [&]<bool kBits>(std::bool_constant<kBits>) {
    launch(nn::on_torch_threads(),
           kernels::LabelPlanes<kBits>{
               labels.data(), classes_.data(), shape[0], planes_, n, {size[0], size[1], size[2]}, values.data()});
  };
  bits_ ? fill(std::true_type{}) : fill(std::false_type{});
}

std::string LabelPlanes::estimate(std::string_view request_json) const {
  const auto mask = json::parse(request_json).at("inputs").at("mask").get<std::vector<std::int64_t>>();
  if (mask.size() != 5) throw sdk::invalid("a shape (N, 1, X, Y, Z) of the mask is needed");
  std::uint64_t labels = sizeof(std::int64_t);
  for (const std::int64_t axis : mask) labels *= static_cast<std::uint64_t>(axis);
  const std::int64_t n = unshuffle_;
  const std::array<std::int64_t, 5> planes{mask[0], planes_ * n * n * n, mask[2] / n, mask[3] / n, mask[4] / n};
  return json{{"peak_bytes", labels}, {"flops", 0}, {"outputs", {{output_, planes}}}}.dump();
}

}  // namespace medgen::maisi
