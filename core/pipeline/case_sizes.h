// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/io/dataset.h"
#include "core/pipeline/contract.h"
#include "core/pipeline/target_spacing.h"
#include "core/volume/geometry.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace medgen {

/// How large the cases of a training are in memory, from their headers.
struct CaseSizes {
  std::size_t count = 0;
  std::int64_t channels = 1;  ///< of the images that are learnt from: at most
  double bytes = 0;           ///< of all, scaled to float32 and with their label maps
  Size3 largest{0, 0, 0};     ///< along each axis, in the model's orientation

  /// Of a voxel of image and label map.
  std::uint64_t voxel_bytes() const {
    return static_cast<std::uint64_t>(channels) * sizeof(float) + sizeof(std::int32_t);
  }

  /// Looks at a few dozen evenly spread cases and takes the others to be like them; those that cannot be read, or
  /// brought to the voxel size, are left to the training. @param one_channel  is learnt from of each image
  static CaseSizes of(const std::vector<Case>& cases, const DataContract& contract, const TargetSpacing& spacing,
                      bool one_channel);
};

}  // namespace medgen
