// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/contract.h"
#include "core/pipeline/target_spacing.h"
#include "core/volume/geometry.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace medgen {

/// How large the cases of a data folder are in memory, from their headers.
struct CaseSizes {
  static constexpr std::uint64_t kVoxel = sizeof(float) + sizeof(std::int32_t);  ///< of image and label map

  std::size_t count = 0;
  double bytes = 0;        ///< of all, scaled to float32 and with their label maps
  Size3 largest{0, 0, 0};  ///< along each axis, in the model's orientation

  /// Looks at a few dozen evenly spread cases and takes the others to be like them; those that cannot be read, or
  /// brought to the voxel size, are left to the training.
  static CaseSizes of(const std::filesystem::path& data, const DataContract& contract, const TargetSpacing& spacing);
};

}  // namespace medgen
