// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// Planes of a feature map in memory: (planes, rows, columns, channels), the last axis fastest. Borrowed.
template <typename T>
struct Planes {
  T* data = nullptr;
  std::int64_t planes = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t channels = 0;

  MEDGEN_KERNEL std::int64_t voxels_per_plane() const { return rows * columns; }

  MEDGEN_KERNEL std::int64_t voxels() const { return planes * rows * columns; }
};

}  // namespace medgen::kernels
