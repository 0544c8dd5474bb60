// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/lpips.h"

#include <medgen/sdk/sdk.hpp>

#include <cstdint>

namespace medgen::maisi {

/// The distance of two volumes by a 2D network: for each of the three axes the mean over a part of the slices across
/// it, chosen at random; the sum of the three means, as released.
class PerceptualLoss {
 public:
  PerceptualLoss(Lpips& network, double slices) : network_(&network), slices_(slices) {}

  /// x, y (N, 1 or 3, X, Y, Z) float32. The choice is the host's noise; "slices.x", "slices.y", "slices.z" in the batch
  /// replace it with indices of slices, counted through the samples.
  at::Tensor forward(const sdk::Context& context, const sdk::Binds& batch, const at::Tensor& x,
                     const at::Tensor& y) const;

 private:
  /// Which of `count` slices across `axis`.
  at::Tensor choice(const sdk::Context& context, const sdk::Binds& batch, std::int64_t axis, std::int64_t count) const;

  Lpips* network_;
  double slices_;
};

}  // namespace medgen::maisi
