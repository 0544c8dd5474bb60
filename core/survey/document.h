// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/survey/survey.h"

#include <map>
#include <string>
#include <vector>

namespace medgen {

/// Numbers about all cases that could be read.
struct Summary {
  std::array<Spread, 3> size, spacing_mm, fov_mm;  ///< along x, y, z of RAS
  std::map<std::string, std::size_t> orientations, types, label_types;

  struct Channel {
    Spread minimum, maximum;
    std::array<Spread, kPercents.size()> percentiles;
  };

  std::vector<Channel> channels;

  struct Label {
    std::string name;  ///< "" when nobody says
    std::size_t cases = 0;
    std::uint64_t voxels = 0;  ///< in all cases
    double share = 0;          ///< of all voxels of all label maps
  };

  std::map<std::int64_t, Label> labels;
  std::size_t labelled = 0;  ///< cases with a label map
};

Summary summarize(const Survey& survey);

/// What `medgen inspect --json` prints; docs/cli.md lists its keys.
Json survey_document(const Survey& survey);

}  // namespace medgen
