// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace medgen::maisi {

/// The region-contrastive loss of MAISI v2 (arXiv 2508.05772): with its tumours the prediction differs from that
/// without them where the tumours are, and nowhere else.
struct RegionContrast {
  double weight = 0;          ///< of both terms in the total; 0: not computed
  double margin = 2;          ///< beyond this difference there is nothing left to gain
  std::int64_t dilation = 3;  ///< edge of the cube that widens the region for the background term, odd

  struct Terms {
    at::Tensor region;      ///< relu(margin - mean |with - without|) - margin over the region
    at::Tensor background;  ///< mean |without - target| away from it
  };

  /// Of predictions (N, C, spatial...) and a region (N, 1, spatial...) of booleans with a voxel in it.
  Terms terms(const at::Tensor& with, const at::Tensor& without, const at::Tensor& target,
              const at::Tensor& region) const;
};

/// Where two conditions (N, K, spatial...) differ, read off at the nearest voxels of a grid `like` (N, C, spatial...).
at::Tensor differing_region(const at::Tensor& a, const at::Tensor& b, const at::Tensor& like);

}  // namespace medgen::maisi
