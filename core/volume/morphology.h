// SPDX-License-Identifier: Apache-2.0
// Masks, (z, y, x) uint8 of 0 and 1: what lies beyond their ends changes nothing.
#pragma once

#include "core/tensor/tensor.h"

#include <cstdint>
#include <vector>

namespace medgen {

/// Every voxel becomes the largest of the cube of `edge` voxels (odd) round it. O(voxels x edge).
Tensor dilate(const Tensor& mask, std::int64_t edge);
/// The smallest.
Tensor erode(const Tensor& mask, std::int64_t edge);
/// Dilated, then eroded: gaps narrower than the cube are filled.
Tensor close(const Tensor& mask, std::int64_t edge);

/// The connected parts of a mask, neighbours also across corners (26). Memory goes by the surface, not the volume.
class ConnectedComponents {
 public:
  explicit ConnectedComponents(const Tensor& mask);

  /// Of the largest; 0 of an empty mask.
  std::int64_t most_voxels() const;
  /// The largest alone, of equals the first; nothing of an empty mask.
  Tensor largest() const;
  /// All of so many voxels or more.
  Tensor of_at_least(std::int64_t voxels) const;

 private:
  /// Neighbouring voxels of one row.
  struct Run {
    std::int64_t row, begin, end;
    std::size_t parent;   ///< an earlier run of the same component, or itself
    std::int64_t voxels;  ///< of the whole component, where it is its own parent
  };

  std::size_t largest_root() const;
  std::size_t root(std::size_t run);
  void join(std::size_t a, std::size_t b);
  void join_rows(std::size_t first, std::size_t end, std::size_t other, std::size_t other_end);
  template <typename Wanted>
  Tensor picked(Wanted wanted) const;

  Shape shape_;
  std::vector<Run> runs_;  ///< row by row
};

}  // namespace medgen
