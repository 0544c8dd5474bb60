// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace medgen::maisi {

/// The label map without tumours, which is the null condition of guidance for a ControlNet (the published
/// remove_tumors): a tumour becomes the organ that it is in.
class NullLabels {
 public:
  /// @param rules  {"26": 1, "23": {"majority_of": [28, 29, 30, 31, 32]}}: the id itself, or the most frequent of these
  /// among the neighbours of the tumour; when there are none, in the volume; when there are none, the first.
  /// @throws sdk::Error for a key that is no label id
  explicit NullLabels(const nlohmann::json& rules);

  bool empty() const { return rules_.empty(); }

  /// Replaces ids in one label map of this size, last axis fastest.
  void apply(std::span<std::int64_t> labels, const std::array<std::int64_t, 3>& size) const;

 private:
  std::map<std::int64_t, std::vector<std::int64_t>> rules_;  ///< to which ids an id may turn
};

}  // namespace medgen::maisi
