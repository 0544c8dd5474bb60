// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/patch_options.h"

#include "core/base/error.h"
#include "core/pipeline/grid_limits.h"

namespace medgen {
namespace {

/// {"tumour": 0.5}: how often a patch is centred on a label.
std::map<std::int64_t, double> probabilities(const ConfigNode& node, const LabelTable& labels) {
  std::map<std::int64_t, double> result;
  double sum = 0;
  for (const auto& [name, probability] : node.members()) {
    try {
      result[labels.id_of(name)] = probability.as<double>();
    } catch (const DataError& error) {
      probability.fail("cannot be cropped at: {}", error.what());
    }
    sum += probability.as<double>();
  }
  if (sum > 1 + 1e-9) node.fail("holds probabilities of {:g} in all, which is more than 1", sum);
  return result;
}

}  // namespace

PatchOptions PatchOptions::read(const ConfigNode& step, const LabelTable& labels, std::uint64_t seed) {
  PatchOptions options;
  options.seed = seed;
  const ConfigNode at = step.at("crop_at");
  if (at.is_object()) options.crop.label_probability = probabilities(at, labels);
  if (step.contains("crop")) {
    const auto crop = step.at("crop").as<std::vector<std::int64_t>>();
    options.crop.size = {crop.at(0), crop.at(1), crop.at(2)};
    options.random = at.is_object() || at.as<std::string>() == "random";
  } else if (at.is_object()) {
    at.fail("names labels, but without \"crop\" a patch is the whole image");
  }
  if (step.contains("augment")) options.augment = AugmentOptions::read(step.at("augment"), labels);
  return options;
}

void check_crop(const ConfigNode& step, const PatchOptions& patches, std::int64_t multiple_of) {
  if (!step.contains("crop")) return;
  if (const auto problem = multiple_problem(patches.crop.size, multiple_of))
    step.at("crop").fail("{}, as the networks need", *problem);
}

}  // namespace medgen
