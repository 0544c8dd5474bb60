// SPDX-License-Identifier: Apache-2.0
#include "core/augment/augment.h"
#include "core/base/error.h"
#include "core/base/text.h"

#include <algorithm>
#include <cctype>

namespace medgen {
namespace {

constexpr std::string_view kAxes = "xyz";

/// The training of the published autoencoder (docs/methods/maisi.md).
AugmentOptions maisi(bool is_mr) {
  AugmentOptions options;
  options.flip = {0.5, {true, true, true}};
  options.quarter_turn = {0.5, {true, true, true}};
  options.rotate = {0.3, -0.1, 0.1};
  options.zoom = {0.3, 0.5, 1.5};
  options.scale_intensity = {0.3, -0.1, 0.1};
  options.shift_intensity = {0.3, -0.05, 0.05};
  if (!is_mr) return options;
  options.bias_field = {0.3, 0, 0.3};
  options.gibbs = {0.3, 0.5, 1};
  options.gamma = {0.3, 0.5, 2};
  options.histogram_shift = {0.05, 10};
  return options;
}

void read_range(const ConfigNode& augment, const char* key, double low, double high, AugmentOptions::Range& range) {
  if (!augment.contains(key)) return;
  const ConfigNode node = augment.at(key);
  range = {node.get<double>("probability"), low, high};
  if (!node.contains("range")) return;
  const auto ends = node.get<std::vector<double>>("range");
  if (ends.at(0) > ends.at(1)) node.at("range").fail("must rise, not {:g} to {:g}", ends[0], ends[1]);
  range.low = ends[0];
  range.high = ends[1];
}

void read_axes(const ConfigNode& augment, const char* key, AugmentOptions::Axes& axes) {
  if (!augment.contains(key)) return;
  const ConfigNode node = augment.at(key);
  axes = {node.get<double>("probability"), {}};
  for (const auto& axis : node.get<std::vector<std::string>>("axes")) axes.axes.at(kAxes.find(axis)) = true;
}

bool mirrors(const AugmentOptions::Axes& flip) {
  return flip.probability > 0 && std::any_of(flip.axes.begin(), flip.axes.end(), [](bool on) { return on; });
}

void read_pairs(const ConfigNode& augment, const LabelTable& labels, AugmentOptions& options) {
  if (!augment.contains("mirrored_labels")) return;
  if (!mirrors(options.flip))
    augment.at("mirrored_labels")
        .fail("change places in a mirror, but nothing mirrors: give \"flip\", or leave them out");
  for (const ConfigNode& pair : augment.at("mirrored_labels").items()) {
    const auto names = pair.as<std::vector<std::string>>();
    try {
      options.mirrored_labels.emplace_back(labels.id_of(names.at(0)), labels.id_of(names.at(1)));
    } catch (const DataError& error) {
      pair.fail("cannot change places: {}", error.what());
    }
  }
}

bool says_left_or_right(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name.find("left") != std::string::npos || name.find("right") != std::string::npos;
}

}  // namespace

std::string AugmentOptions::schema() {
  return R"({
  "type": "object", "additionalProperties": false,
  "properties": {
    "preset": {"enum": ["none", "maisi-ct", "maisi-mr"],
      "description": "what the published training of MAISI's autoencoder does; other keys replace its parts"},
    "flip": {"$ref": "#/$defs/axes", "description": "mirrored along each axis listed, by itself"},
    "quarter_turn": {"$ref": "#/$defs/axes", "description": "by 90, 180 or 270 degrees round each axis listed"},
    "rotate": {"$ref": "#/$defs/chance", "description": "radians round each axis; range [-0.1, 0.1] by default"},
    "zoom": {"$ref": "#/$defs/chance", "description": "above 1 enlarges; range [0.9, 1.1] by default"},
    "elastic": {"type": "object", "additionalProperties": false, "required": ["probability"],
      "description": "smooth random displacements",
      "properties": {
        "probability": {"$ref": "#/$defs/probability"},
        "spacing_voxels": {"type": "number", "minimum": 2, "maximum": 1024},
        "sigma_voxels": {"type": "number", "minimum": 0, "maximum": 1024}}},
    "bias_field": {"$ref": "#/$defs/chance", "description": "coefficients; range [0, 0.3] by default"},
    "gibbs": {"$ref": "#/$defs/chance", "description": "part of k-space cut off; range [0.5, 1] by default"},
    "gamma": {"$ref": "#/$defs/chance", "description": "exponent; range [0.5, 2] by default"},
    "histogram_shift": {"type": "object", "additionalProperties": false, "required": ["probability"],
      "properties": {
        "probability": {"$ref": "#/$defs/probability"},
        "control_points": {"type": "integer", "minimum": 3, "maximum": 1000}}},
    "scale_intensity": {"$ref": "#/$defs/chance", "description": "times 1 + f; range [-0.1, 0.1] by default"},
    "shift_intensity": {"$ref": "#/$defs/chance", "description": "plus f; range [-0.05, 0.05] by default"},
    "mirrored_labels": {"type": "array", "description": "pairs of label names that change places in a mirror",
      "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}}}
  },
  "$defs": {
    "probability": {"type": "number", "minimum": 0, "maximum": 1},
    "chance": {"type": "object", "additionalProperties": false, "required": ["probability"],
      "properties": {
        "probability": {"$ref": "#/$defs/probability"},
        "range": {"type": "array", "minItems": 2, "maxItems": 2,
          "items": {"type": "number", "minimum": -1000, "maximum": 1000}}}},
    "axes": {"type": "object", "additionalProperties": false, "required": ["probability", "axes"],
      "properties": {
        "probability": {"$ref": "#/$defs/probability"},
        "axes": {"type": "array", "uniqueItems": true, "items": {"enum": ["x", "y", "z"]}}}}
  }
})";
}

AugmentOptions AugmentOptions::read(const ConfigNode& augment, const LabelTable& labels) {
  const auto preset = augment.get<std::string>("preset", "none");
  AugmentOptions options = preset == "none" ? AugmentOptions() : maisi(preset == "maisi-mr");
  read_axes(augment, "flip", options.flip);
  read_axes(augment, "quarter_turn", options.quarter_turn);
  read_range(augment, "rotate", -0.1, 0.1, options.rotate);
  read_range(augment, "zoom", 0.9, 1.1, options.zoom);
  read_range(augment, "bias_field", 0, 0.3, options.bias_field);
  read_range(augment, "gibbs", 0.5, 1, options.gibbs);
  read_range(augment, "gamma", 0.5, 2, options.gamma);
  read_range(augment, "scale_intensity", -0.1, 0.1, options.scale_intensity);
  read_range(augment, "shift_intensity", -0.05, 0.05, options.shift_intensity);
  if (options.zoom.probability > 0 && !(options.zoom.low > 0)) {
    augment.at("zoom").fail("must stay above 0, not {:g}", options.zoom.low);
  }
  if (options.gibbs.probability > 0 && (options.gibbs.low < 0 || options.gibbs.high > 1)) {
    augment.at("gibbs").fail("cuts off a part between 0 and 1");
  }
  if (options.gamma.probability > 0 && !(options.gamma.low > 0)) augment.at("gamma").fail("must stay above 0");
  if (augment.contains("elastic")) {
    const ConfigNode node = augment.at("elastic");
    options.elastic = {node.get<double>("probability"), node.get<double>("spacing_voxels", Elastic().spacing_voxels),
                       node.get<double>("sigma_voxels", Elastic().sigma_voxels)};
  }
  if (augment.contains("histogram_shift")) {
    const ConfigNode node = augment.at("histogram_shift");
    options.histogram_shift = {node.get<double>("probability"), node.get<int>("control_points", 10)};
  }
  read_pairs(augment, labels, options);
  return options;
}

std::optional<std::string> mirror_warning(const AugmentOptions& options, const LabelTable& labels) {
  if (!mirrors(options.flip)) return {};
  std::vector<std::string> names;
  for (const auto& [id, name] : labels.names()) {
    const bool swapped = std::any_of(options.mirrored_labels.begin(), options.mirrored_labels.end(),
                                     [id = id](const auto& pair) { return pair.first == id || pair.second == id; });
    if (!swapped && says_left_or_right(name)) names.push_back(name);
  }
  if (names.empty()) return {};
  return fmt::format("patches are mirrored, but {} labels keep their side ({}); list the pairs in \"mirrored_labels\"",
                     names.size(), first_of(names));
}

}  // namespace medgen
