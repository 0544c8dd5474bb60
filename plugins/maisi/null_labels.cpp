// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/null_labels.h"

#include <medgen/sdk/sdk.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::maisi {
namespace {

using Labels = std::span<const std::int64_t>;
using Size = std::array<std::int64_t, 3>;

std::int64_t label_id(const std::string& text) {
  constexpr std::size_t kMostDigits = 9;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (text.empty() || text.size() > kMostDigits || !digits)
    throw sdk::invalid("null_labels has the key '", text, "', which is no label id");
  return std::stoll(text);
}

/// Whether one of the 26 neighbours of a voxel has this id.
bool touches(Labels labels, const Size& size, const Size& at, std::int64_t id) {
  for (std::int64_t x = std::max<std::int64_t>(at[0] - 1, 0); x <= std::min(at[0] + 1, size[0] - 1); ++x) {
    for (std::int64_t y = std::max<std::int64_t>(at[1] - 1, 0); y <= std::min(at[1] + 1, size[1] - 1); ++y) {
      for (std::int64_t z = std::max<std::int64_t>(at[2] - 1, 0); z <= std::min(at[2] + 1, size[2] - 1); ++z) {
        if (labels[static_cast<std::size_t>((x * size[1] + y) * size[2] + z)] == id) return true;
      }
    }
  }
  return false;
}

/// How many voxels of each candidate there are: beside the tumour, and in all.
struct Counts {
  std::vector<std::int64_t> beside, all;
};

Counts count(Labels labels, const Size& size, std::int64_t tumour, const std::vector<std::int64_t>& candidates) {
  Counts counts{std::vector<std::int64_t>(candidates.size()), std::vector<std::int64_t>(candidates.size())};
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto found = std::find(candidates.begin(), candidates.end(), labels[i]);
    if (found == candidates.end()) continue;
    const auto which = static_cast<std::size_t>(found - candidates.begin());
    const auto voxel = static_cast<std::int64_t>(i);
    const Size at{voxel / (size[1] * size[2]), voxel / size[2] % size[1], voxel % size[2]};
    ++counts.all[which];
    if (touches(labels, size, at, tumour)) ++counts.beside[which];
  }
  return counts;
}

std::int64_t majority(Labels labels, const Size& size, std::int64_t tumour,
                      const std::vector<std::int64_t>& candidates) {
  const Counts counts = count(labels, size, tumour, candidates);
  const bool alone = std::all_of(counts.beside.begin(), counts.beside.end(), [](std::int64_t n) { return n == 0; });
  const auto& deciding = alone ? counts.all : counts.beside;
  return candidates[static_cast<std::size_t>(std::max_element(deciding.begin(), deciding.end()) - deciding.begin())];
}

}  // namespace

NullLabels::NullLabels(const nlohmann::json& rules) {
  for (const auto& [from, to] : rules.items()) {
    rules_[label_id(from)] = to.is_object() ? to.at("majority_of").get<std::vector<std::int64_t>>()
                                            : std::vector<std::int64_t>{to.get<std::int64_t>()};
  }
}

void NullLabels::apply(std::span<std::int64_t> labels, const Size& size) const {
  std::map<std::int64_t, std::int64_t> target;
  for (const auto& [from, candidates] : rules_) {
    if (std::find(labels.begin(), labels.end(), from) == labels.end()) continue;
    target[from] = candidates.size() == 1 ? candidates.front() : majority(labels, size, from, candidates);
  }
  for (std::int64_t& label : labels) {
    if (const auto found = target.find(label); found != target.end()) label = found->second;
  }
}

}  // namespace medgen::maisi
