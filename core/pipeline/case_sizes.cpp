// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_sizes.h"

#include "core/base/error.h"
#include "core/io/dataset.h"
#include "core/io/volume_file.h"
#include "core/pipeline/sample.h"

#include <algorithm>

namespace medgen {
namespace {

/// The file that tells the grid.
const std::filesystem::path& file_of(const Case& entry, const DataContract& contract) {
  const bool by_label = entry.images.empty() || (contract.makes_labels() && entry.label);
  return by_label ? entry.label.value() : entry.images.front();
}

/// As the training sees it.
Geometry grid_of(const Geometry& file, const std::string& name, const DataContract& contract,
                 const TargetSpacing& spacing) {
  return spacing.grid(reorient(file, reorientation(file.affine, contract.orientation)), name);
}

}  // namespace

CaseSizes CaseSizes::of(const std::vector<Case>& cases, const DataContract& contract, const TargetSpacing& spacing,
                        bool one_channel) {
  constexpr std::size_t kMost = 32;
  CaseSizes sizes;
  sizes.count = cases.size();
  const std::size_t step = std::max<std::size_t>(cases.size() / kMost, 1);
  double seen = 0, voxels = 0;
  for (std::size_t i = 0; i < cases.size(); i += step) {
    try {
      const auto info = read_volume_info(file_of(cases[i], contract));
      const Geometry grid = grid_of(info.geometry, cases[i].name, contract, spacing);
      voxels += static_cast<double>(voxels_of(grid));
      if (!one_channel) sizes.channels = std::max(sizes.channels, info.channels);
      for (std::size_t axis = 0; axis < 3; ++axis) sizes.largest[axis] = std::max(sizes.largest[axis], grid.size[axis]);
      ++seen;
    } catch (const DataError&) {
      continue;
    }
  }
  if (seen > 0)
    sizes.bytes = voxels * static_cast<double>(sizes.voxel_bytes()) * static_cast<double>(cases.size()) / seen;
  return sizes;
}

}  // namespace medgen
