// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/anatomy_sizes.h"

#include "plugins/maisi/params.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>

namespace medgen::maisi {
namespace {

using nlohmann::json;

constexpr float kAbsent = -1.0F;

double voxel_ml(const json& params) {
  if (!params.contains("spacing_mm")) throw sdk::invalid("spacing_mm is missing: volumes cannot be told without it");
  constexpr double kMm3PerMl = 1000;
  double volume = 1;
  for (const double mm : params["spacing_mm"].get<std::vector<double>>()) volume *= mm;
  return volume / kMm3PerMl;
}

/// Linear between the volumes that are known.
double share_below(const std::vector<double>& known, double volume_ml) {
  const auto above = std::upper_bound(known.begin(), known.end(), volume_ml);
  if (above == known.begin()) return 0;
  if (above == known.end()) return 1;
  const double below = *(above - 1);
  const double steps = static_cast<double>(above - known.begin() - 1) + (volume_ml - below) / (*above - below);
  return steps / static_cast<double>(known.size() - 1);
}

}  // namespace

AnatomySizes::AnatomySizes(const sdk::Create& create) {
  const json config = json::parse(create.config());
  for (const json& slot : config.at("slots"))
    slots_.push_back({slot.at("name"), slot.at("label"), slot.value("tumour", false)});
}

std::vector<float> AnatomySizes::measured(const sdk::TensorView& mask, const json& params) const {
  const double voxel = voxel_ml(params);
  const std::vector<std::vector<double>> known = known_volumes(params);
  const std::vector<std::int64_t> labels = mask.to_vector<std::int64_t>();
  const auto rows = static_cast<std::size_t>(mask.size(0));
  std::vector<float> sizes;
  for (std::size_t row = 0; row < rows; ++row) {
    std::map<std::int64_t, std::int64_t> voxels;
    const std::size_t each = labels.size() / rows;
    for (std::size_t i = row * each; i < (row + 1) * each; ++i) ++voxels[labels[i]];
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      const std::int64_t count = voxels[slots_[i].label];
      const bool told = count > 0 && !known[i].empty();
      sizes.push_back(told ? static_cast<float>(share_below(known[i], static_cast<double>(count) * voxel)) : kAbsent);
    }
  }
  return sizes;
}

/// In the order of the slots; of labels that no case has none.
std::vector<std::vector<double>> AnatomySizes::known_volumes(const json& params) const {
  if (!params.contains("label_volumes_ml"))
    throw sdk::invalid("label_volumes_ml is missing: what a size is among others cannot be told without it");
  std::vector<std::vector<double>> known;
  for (const Slot& slot : slots_)
    known.push_back(params["label_volumes_ml"].value(std::to_string(slot.label), std::vector<double>()));
  return known;
}

std::vector<float> AnatomySizes::asked(const sdk::Context& context, const sdk::Binds& in) const {
  const json params = params_of(in);
  const json sizes = params.value("anatomy_sizes", json::object());
  const auto rows = params.value("samples", std::size_t{1});
  const std::size_t slots = slots_.size();
  std::vector<float> result(rows * slots);
  const std::array<std::int64_t, 2> shape{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(slots)};
  const std::array<std::int64_t, 2> strides{shape[1], 1};
  medgen_tensor_t view{};
  view.data = result.data();
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = 2;
  view.dtype = sdk::kFloat32;
  view.shape = const_cast<std::int64_t*>(shape.data());
  view.strides = const_cast<std::int64_t*>(strides.data());
  context.fill_noise(sdk::Tensor(view, "sizes"), "maisi.anatomy_sizes", MEDGEN_NOISE_UNIFORM);

  std::size_t tumours = 0;
  for (const auto& [name, size] : sizes.items()) {
    const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& each) { return each.name == name; });
    if (slot == slots_.end()) throw sdk::invalid("anatomy_sizes: '", name, "' is none of the sizes this model knows");
    const bool fits = size.is_number() && (size == -1 || (size >= 0 && size <= 1));
    if (!fits) throw sdk::invalid("anatomy_sizes: ", name, " is ", size.dump(), "; 0 to 1 is wanted, or -1 for none");
    tumours += slot->tumour && size != -1 ? 1 : 0;
    for (std::size_t row = 0; row < rows; ++row)
      result[row * slots + static_cast<std::size_t>(slot - slots_.begin())] = size.get<float>();
  }
  if (tumours > 1)
    throw sdk::invalid("anatomy_sizes: ", tumours, " tumours are asked for; the model makes one at most");
  for (std::size_t i = 0; i < result.size(); ++i) {
    // Nobody gets a tumour unasked.
    if (slots_[i % slots].tumour && !sizes.contains(slots_[i % slots].name)) result[i] = kAbsent;
  }
  return result;
}

void AnatomySizes::encode(const sdk::Context& context, const sdk::Binds& in, sdk::Outputs& out) {
  const auto whole = in.find("whole_mask");
  const auto mask = whole ? whole : in.find("mask");
  std::vector<float> sizes = mask ? measured(*mask, params_of(in)) : asked(context, in);
  if (context.unconditional()) std::fill(sizes.begin(), sizes.end(), kAbsent);
  const auto slots = static_cast<std::int64_t>(slots_.size());
  const std::array<std::int64_t, 3> shape{static_cast<std::int64_t>(sizes.size()) / slots, 1, slots};
  const sdk::Tensor tensor = out.allocate<float>("context", sdk::ShapeView(shape));
  std::copy(sizes.begin(), sizes.end(), tensor.values<float>().begin());
}

std::string AnatomySizes::estimate(std::string_view) const {
  return json{{"peak_bytes", 0}, {"flops", 0}, {"outputs", {{"context", {1, 1, slots_.size()}}}}}.dump();
}

}  // namespace medgen::maisi
