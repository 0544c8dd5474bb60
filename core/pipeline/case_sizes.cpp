// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_sizes.h"

#include "core/base/error.h"
#include "core/io/dataset.h"
#include "core/io/volume_file.h"
#include "core/pipeline/sample.h"

#include <algorithm>

namespace medgen {
namespace {

/// As the training sees it.
Geometry grid_of(const Case& entry, const DataContract& contract, const TargetSpacing& spacing) {
  const bool by_label = entry.images.empty() || (contract.makes_labels() && entry.label);
  const auto& file = by_label ? entry.label.value() : entry.images.front();
  const Geometry grid = read_volume_info(file).geometry;
  return spacing.grid(reorient(grid, reorientation(grid.affine, contract.orientation)), entry.name);
}

}  // namespace

CaseSizes CaseSizes::of(const std::filesystem::path& data, const DataContract& contract, const TargetSpacing& spacing) {
  constexpr std::size_t kMost = 32;
  CaseSizes sizes;
  if (!std::filesystem::exists(data)) return sizes;
  const std::vector<Case> cases = open_with_bad_cases(data).dataset.cases;
  sizes.count = cases.size();
  const std::size_t step = std::max<std::size_t>(cases.size() / kMost, 1);
  double seen = 0;
  for (std::size_t i = 0; i < cases.size(); i += step) {
    try {
      const Geometry grid = grid_of(cases[i], contract, spacing);
      sizes.bytes += static_cast<double>(voxels_of(grid) * kVoxel);
      for (std::size_t axis = 0; axis < 3; ++axis) sizes.largest[axis] = std::max(sizes.largest[axis], grid.size[axis]);
      ++seen;
    } catch (const DataError&) {
      continue;
    }
  }
  if (seen > 0) sizes.bytes *= static_cast<double>(cases.size()) / seen;
  return sizes;
}

}  // namespace medgen
