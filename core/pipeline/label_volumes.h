// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/config/node.h"
#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <cstdint>
#include <map>
#include <vector>

namespace medgen {

/// What the host tells conditioners of a training that list it in their "io": LabelVolumes::by_id.
inline constexpr const char* kLabelVolumes = "label_volumes_ml";

/// How large the labels of a training's cases are: of each the volumes (ml) in the cases that have it, at even shares
/// from the smallest to the largest.
class LabelVolumes {
 public:
  /// "label_volumes_ml" of a data contract. @throws ConfigError at what is no label, or volumes that do not ascend
  static LabelVolumes read(const ConfigNode& data, const LabelTable& labels);

  bool empty() const { return volumes_.empty(); }

  /// {"1": [0.9, 1.2, ...]}
  Json by_id() const;

 private:
  std::map<std::int64_t, std::vector<double>> volumes_;
};

/// Measures them.
class LabelVolumeMeter {
 public:
  /// A case's label map, of integers. O(voxels).
  void add(const Volume& label);

  /// "label_volumes_ml" of a data contract, in tenths, to four digits; labels that have no name by their id.
  Json measured(const LabelTable& labels) const;

 private:
  std::map<std::int64_t, std::vector<double>> of_cases_;
};

}  // namespace medgen
