// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_modalities.h"

#include "core/base/text.h"

#include <fnmatch.h>

#include <algorithm>

namespace medgen {
namespace {

bool has_case(const CaseModalities::Modality& modality, const std::string& name) {
  return std::any_of(modality.cases.begin(), modality.cases.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

}  // namespace

CaseModalities CaseModalities::read(const ConfigNode& step, const LabelTable& labels) {
  if (!step.contains("modalities")) return {};
  CaseModalities result;
  for (const auto& [name, node] : step.at("modalities").members()) {
    Modality modality{
        name, node, node.get<std::vector<std::string>>("cases"), IntensityRule::read(node.at("intensity")), {}};
    if (node.contains("augment")) modality.augment = AugmentOptions::read(node.at("augment"), labels);
    result.modalities_.push_back(std::move(modality));
  }
  return result;
}

const CaseModalities::Modality* CaseModalities::of(const std::string& name) const {
  const auto found = std::find_if(modalities_.begin(), modalities_.end(),
                                  [&](const Modality& modality) { return has_case(modality, name); });
  return found == modalities_.end() ? nullptr : &*found;
}

void CaseModalities::check(const std::vector<std::string>& names) const {
  for (const Modality& modality : modalities_) {
    bool has_any = false;
    for (const std::string& name : names) {
      if (!has_case(modality, name)) continue;
      has_any = true;
      if (const Modality* first = of(name); first != &modality)
        modality.node.at("cases").fail("has case {}, as \"{}\" has; a case is of one modality", name, first->name);
    }
    if (!has_any && !names.empty())
      modality.node.at("cases").fail("names no case of the data, which are {}", first_of(names));
  }
}

}  // namespace medgen
