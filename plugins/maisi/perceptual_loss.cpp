// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/perceptual_loss.h"

#include "plugins/support/bridge.h"
#include "plugins/support/error.h"
#include "plugins/support/training/step.h"

#include <ATen/ops/argsort.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <string>

namespace medgen::maisi {
namespace {

/// (N, C, X, Y, Z) -> (N * length of the axis, C, the other two axes); a view.
at::Tensor slices_across(const at::Tensor& x, std::int64_t axis) {
  const at::Tensor by_slice = x.movedim(axis, 1);
  std::vector<std::int64_t> shape = by_slice.sizes().slice(2).vec();
  shape.insert(shape.begin(), by_slice.size(0) * by_slice.size(1));
  return by_slice.reshape(shape);
}

}  // namespace

at::Tensor PerceptualLoss::choice(const sdk::Context& context, const sdk::Binds& batch, std::int64_t axis,
                                  std::int64_t count) const {
  const std::string letter(1, "xyz"[axis - 2]);
  const at::Tensor given = support::optional_input(batch, "slices." + letter, at::kCPU);
  if (given.defined()) {
    const at::Tensor indices = given.reshape({-1}).to(at::kLong);
    support::require(
        indices.numel() > 0 && indices.min().item<std::int64_t>() >= 0 && indices.max().item<std::int64_t>() < count,
        "slices.{} wants numbers from 0 to {}", letter, count - 1);
    return indices;
  }
  // Ranks of random numbers: every choice alike, and the same on every machine.
  const at::Tensor order =
      at::argsort(support::host_noise(context, {count}, at::kCPU, "train.slices." + letter), /*stable=*/true);
  return order.narrow(0, 0, std::max<std::int64_t>(1, static_cast<std::int64_t>(slices_ * static_cast<double>(count))));
}

at::Tensor PerceptualLoss::forward(const sdk::Context& context, const sdk::Binds& batch, const at::Tensor& x,
                                   const at::Tensor& y) const {
  support::require(x.size(1) == 1 || x.size(1) == 3,
                   "the perceptual loss takes images of one or three channels, these have {}", x.size(1));
  at::Tensor sum;
  for (std::int64_t axis = 2; axis < 5; ++axis) {
    const at::Tensor of_x = slices_across(x, axis);
    const at::Tensor which = choice(context, batch, axis, of_x.size(0)).to(x.device());
    const at::Tensor mean =
        network_->distance(of_x.index_select(0, which), slices_across(y, axis).index_select(0, which)).mean();
    sum = sum.defined() ? sum + mean : mean;
  }
  return sum;
}

}  // namespace medgen::maisi
