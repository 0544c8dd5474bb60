// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/contract.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <iterator>

namespace medgen {
namespace {

std::string orientation_code(const ConfigNode& node) {
  const auto code = node.as<std::string>();
  const auto names = [&](std::string_view axis) { return code.find_first_of(axis) != std::string::npos; };
  if (!names("RL") || !names("AP") || !names("SI")) {
    node.fail("must have one each of R/L, A/P and S/I, such as \"RAS\", got \"{}\"", code);
  }
  return code;
}

std::set<std::int64_t> read_expected_labels(const ConfigNode& data, const LabelTable& labels) {
  std::set<std::int64_t> ids;
  if (!data.contains("expected_labels")) return ids;
  for (const ConfigNode& node : data.at("expected_labels").items()) {
    const auto id = node.as<std::int64_t>();
    if (!labels.empty() && !labels.names().contains(id)) node.fail("is {}, which is not among the labels", id);
    ids.insert(id);
  }
  return ids;
}

/// "1 liver, 3 spleen and 130 more"
std::string known_labels(const LabelTable& labels) {
  constexpr std::size_t kShown = 20;
  std::vector<std::string> known;
  for (const auto& [id, name] : labels.names()) known.push_back(fmt::format("{} {}", id, name));
  return first_of(known, kShown);
}

/// (..., z, y, x) <-> (..., x, y, z): the same move both ways.
Tensor reversed_axes(const Tensor& tensor) {
  const Shape& from = tensor.shape();
  const std::size_t lead = from.size() - 3;
  Shape shape = from;
  std::reverse(shape.end() - 3, shape.end());
  medgen_tensor_t view = tensor.abi();
  Shape strides(view.strides, view.strides + view.ndim);
  std::reverse(strides.begin() + static_cast<std::ptrdiff_t>(lead), strides.end());
  view.shape = shape.data();
  view.strides = strides.data();
  return Tensor::from_abi(view);
}

Size3 rounded_up(const Size3& size, std::int64_t multiple) {
  Size3 result = size;
  for (auto& axis : result) axis = (axis + multiple - 1) / multiple * multiple;
  return result;
}

/// What the images are made of can be written. @throws ConfigError at what cannot
void check_fits_int16(const ConfigNode& data) {
  const auto check = [](const ConfigNode& node, const char* key) {
    if (!node.contains(key)) return;
    const auto value = node.get<double>(key);
    if (value < -32768 || value > 32767)
      node.at(key).fail("is {}, but the images are written as int16, from -32768 to 32767; set \"output\": \"float32\"",
                        value);
  };
  if (data.contains("background")) check(data.at("background"), "value");
  if (!data.contains("intensity")) return;
  const ConfigNode intensity = data.at("intensity");
  const auto kind = intensity.get<std::string>("kind");
  if (kind == "percentile") check(intensity, "scale");
  if (kind != "window") return;
  check(intensity, "low");
  check(intensity, "high");
}

}  // namespace

IntensityRule IntensityRule::read(const ConfigNode& intensity) {
  IntensityRule rule;
  const auto kind = intensity.get<std::string>("kind");
  if (kind == "none") return rule;
  rule.kind = kind == "window" ? IntensityRule::Kind::Window : IntensityRule::Kind::Percentile;
  rule.low = intensity.get<double>("low");
  rule.high = intensity.get<double>("high");
  if (rule.low >= rule.high) intensity.at("high").fail("must be above low ({}), got {}", rule.low, rule.high);
  rule.scale = intensity.get<double>("scale", rule.scale);
  rule.clip = intensity.get<bool>("clip", false);
  return rule;
}

IntensityTransform IntensityRule::with_clip(IntensityTransform transform) const {
  transform.clip_high = transform.clip_high || clip;
  return transform;
}

IntensityTransform IntensityRule::for_input(const Tensor& voxels) const {
  switch (kind) {
    case Kind::Window:
      return intensity_window(low, high);
    case Kind::Percentile:
      return with_clip(intensity_percentiles(voxels, low, high));
    case Kind::None:
      break;
  }
  return {.clip_low = false, .clip_high = false};
}

IntensityTransform IntensityRule::for_input(const Tensor& voxels, const std::string& what) const {
  try {
    return for_input(voxels);
  } catch (const DataError& error) {
    throw DataError("{}: {}", what, error.what());
  }
}

IntensityTransform IntensityRule::for_output() const {
  switch (kind) {
    case Kind::Window:
      return intensity_window(low, high);
    case Kind::Percentile:
      return with_clip({.low = 0, .high = scale, .clip_low = true, .clip_high = false});
    case Kind::None:
      break;
  }
  return {.clip_low = false, .clip_high = false};
}

DataContract DataContract::read(const ConfigNode& model) {
  DataContract contract;
  if (!model.contains("data")) return contract;
  const ConfigNode data = model.at("data");
  contract.modality = data.get<std::string>("modality", "");
  contract.xyz_axes = data.get<std::string>("axes", "zyx") == "xyz";
  if (data.contains("orientation")) contract.orientation = orientation_code(data.at("orientation"));
  contract.limits = GridLimits::read(data);
  if (data.contains("recommended")) contract.recommended = GridLimits::read(data.at("recommended"));
  if (data.contains("intensity")) contract.intensity = IntensityRule::read(data.at("intensity"));
  if (data.contains("background")) {
    contract.background =
        Background{data.at("background").get<std::int64_t>("label"), data.at("background").get<double>("value")};
  }
  if (data.contains("labels")) {
    for (const auto& [name, id] : data.at("labels").members()) {
      try {
        contract.labels.add(id.as<std::int64_t>(), name);
      } catch (const DataError& error) {
        id.fail("does not fit: {}", error.what());
      }
    }
  }
  contract.expected_labels = read_expected_labels(data, contract.labels);
  contract.label_volumes_ml = LabelVolumes::read(data, contract.labels);
  contract.output = data.get<std::string>("output", "int16") == "int16" ? DType::I16 : DType::F32;
  if (contract.output == DType::I16) check_fits_int16(data);
  return contract;
}

void DataContract::check_grid(const Geometry& grid, const std::string& what) const {
  if (const auto problem = limits.problem(grid)) {
    throw DataError(
        "{}: {}, outside what the model was trained on; crop or resample it (\"spacing_mm\" beside a mask), use "
        "another grid or another model; {}",
        what, *problem, kOutsideContractHint);
  }
}

void DataContract::check_spacing(const Geometry& grid, const std::string& what) const {
  if (const auto problem = limits.spacing_problem(grid))
    throw DataError("{}: {}, outside what the model was trained on; \"resample_mm\" brings cases there", what,
                    *problem);
}

std::vector<std::string> DataContract::grid_warnings(const Geometry& grid, bool beyond_limits) const {
  std::vector<std::string> warnings;
  const auto outside = limits.problem(grid);
  if (outside && beyond_limits) warnings.push_back(*outside + ", outside what the model was trained on");
  if (const auto problem = recommended.problem(grid))
    warnings.push_back(*problem + ", outside what is recommended for this model; the image may be poor");
  return warnings;
}

std::optional<std::string> DataContract::labels_problem(const std::set<std::int64_t>& ids) const {
  std::vector<std::int64_t> unknown;
  for (const std::int64_t id : ids) {
    if (id != 0 && !labels.empty() && !labels.names().contains(id)) unknown.push_back(id);
  }
  if (unknown.empty()) return std::nullopt;
  constexpr std::size_t kMost = 12;
  if (unknown.size() > kMost)
    return fmt::format("{} labels, from {} to {}, mean nothing to this model, which knows: {}; is this an image?",
                       unknown.size(), unknown.front(), unknown.back(), known_labels(labels));
  return fmt::format("label{} {} mean{} nothing to this model, which knows: {}; relabel the map",
                     unknown.size() == 1 ? "" : "s", fmt::join(unknown, ", "), unknown.size() == 1 ? "s" : "",
                     known_labels(labels));
}

std::optional<std::string> DataContract::labels_warning(const std::set<std::int64_t>& ids) const {
  if (ids == std::set<std::int64_t>{0}) return "the label map is empty: every voxel is 0";
  std::vector<std::int64_t> missing;
  std::set_difference(expected_labels.begin(), expected_labels.end(), ids.begin(), ids.end(),
                      std::back_inserter(missing));
  if (missing.empty()) return std::nullopt;
  const bool named = labels.names().contains(missing.front());
  return fmt::format(
      "the map has no label {}{}, which every map that the model was trained on has; the image may be poor",
      fmt::join(missing, ", "), named ? fmt::format(" ({})", labels.name_of(missing.front())) : "");
}

void DataContract::check_labels(const Volume& volume, const std::string& what) const {
  if (const auto problem = labels_problem(label_ids(volume.voxels()))) throw DataError("{}: {}", what, *problem);
}

ModelGrid::ModelGrid(const Geometry& geometry, const DataContract& contract, std::int64_t multiple_of)
    : source_(geometry),
      reorientation_(reorientation(geometry.affine, contract.orientation)),
      oriented_(reorient(geometry, reorientation_)),
      padded_(with_size(oriented_, rounded_up(oriented_.size, multiple_of))),
      xyz_axes_(contract.xyz_axes) {}

Shape ModelGrid::shape() const {
  Shape shape = zyx_of(padded_.size);
  if (xyz_axes_) std::reverse(shape.begin(), shape.end());
  return shape;
}

Tensor ModelGrid::to_model(const Volume& volume, double fill) const {
  check(volume.geometry().size == source_.size, "a volume of this grid");
  const Volume padded = center_crop_or_pad(reorient(volume, reorientation_), padded_.size, fill);
  const Tensor voxels = xyz_axes_ ? reversed_axes(padded.voxels()) : padded.voxels();
  Shape shape{1, padded.channels()};
  shape.insert(shape.end(), voxels.shape().end() - 3, voxels.shape().end());
  return voxels.reshape(shape);
}

Volume ModelGrid::from_model(const Tensor& tensor) const {
  const Shape& shape = tensor.shape();
  Shape expected = this->shape();
  if (shape.size() != 5 || shape[0] != 1 || !std::equal(expected.begin(), expected.end(), shape.begin() + 2)) {
    throw PluginError("the model gave an image of shape {}, expected 1xCx{}", to_string(shape), to_string(expected));
  }
  const Shape channels = shape[1] == 1 ? Shape{} : Shape{shape[1]};
  Shape flat = channels;
  flat.insert(flat.end(), expected.begin(), expected.end());
  const Tensor voxels = xyz_axes_ ? reversed_axes(tensor.reshape(flat)) : tensor.reshape(flat);
  const Volume oriented = center_crop_or_pad(Volume(voxels, padded_.affine), oriented_.size);
  const Volume back = reorient(oriented, inverse(reorientation_));
  // The source's own affine, to the bit, instead of one that went there and back.
  return Volume(back.voxels(), source_.affine);
}

}  // namespace medgen
