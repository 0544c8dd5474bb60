// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/window_decode.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <vector>

namespace medgen::maisi {
namespace {

constexpr double kSigmaScale = 0.125;  // of the window
constexpr double kSmallestWeight = 1e-3;

/// First voxels of the windows along one axis; the last one is shifted back so that it fits.
std::vector<std::int64_t> starts(std::int64_t length, std::int64_t roi, double overlap) {
  const auto interval =
      roi == length ? roi
                    : std::max<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(roi) * (1 - overlap)), 1);
  std::vector<std::int64_t> result;
  for (std::int64_t start = 0;; start += interval) {
    result.push_back(std::min(start, length - roi));
    if (start + roi >= length) return result;
  }
}

/// exp(-x^2 / 2 sigma^2) on each axis, multiplied, on the voxel grid of a decoded window: (1, 1, x, y, z).
at::Tensor gaussian(const std::array<std::int64_t, 3>& roi, std::int64_t factor) {
  at::Tensor weight = at::ones({1, 1, 1, 1, 1});
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double sigma = kSigmaScale * static_cast<double>(roi[axis]);
    const at::Tensor x = at::arange(roi[axis], at::kFloat) - static_cast<double>(roi[axis] - 1) / 2;
    std::array<std::int64_t, 5> shape{1, 1, 1, 1, 1};
    shape[2 + axis] = roi[axis];
    weight = weight * (x.square() / (-2 * sigma * sigma)).exp().reshape(shape);
  }
  weight = weight.clamp_min(std::max(weight.min().item<double>(), kSmallestWeight));
  for (std::int64_t axis = 2; axis < 5; ++axis) weight = weight.repeat_interleave(factor, axis);
  return weight;
}

at::Tensor box(const at::Tensor& tensor, const std::array<std::int64_t, 3>& start,
               const std::array<std::int64_t, 3>& size, std::int64_t factor) {
  at::Tensor view = tensor;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    view = view.narrow(static_cast<std::int64_t>(2 + axis), start[axis] * factor, size[axis] * factor);
  }
  return view;
}

}  // namespace

at::Tensor decode_in_windows(const at::Tensor& z, const WindowOptions& options, std::int64_t factor,
                             const std::function<at::Tensor(const at::Tensor&)>& decode) {
  const auto& all = options.roi;
  if (z.size(2) * z.size(3) * z.size(4) <= all[0] * all[1] * all[2]) return decode(z);
  std::array<std::int64_t, 3> roi{};
  std::array<std::vector<std::int64_t>, 3> origins;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t length = z.size(static_cast<std::int64_t>(2 + axis));
    roi[axis] = std::min(options.roi[axis], length);
    origins[axis] = starts(length, roi[axis], options.overlap);
  }
  const at::Tensor weight = gaussian(roi, factor).to(z.device());
  at::Tensor sum;
  at::Tensor count = at::zeros({1, 1, z.size(2) * factor, z.size(3) * factor, z.size(4) * factor}, weight.options());
  for (const std::int64_t i : origins[0]) {
    for (const std::int64_t j : origins[1]) {
      for (const std::int64_t k : origins[2]) {
        const std::array<std::int64_t, 3> start{i, j, k};
        const at::Tensor decoded = decode(box(z, start, roi, 1));
        if (!sum.defined())
          sum = at::zeros({1, decoded.size(1), count.size(2), count.size(3), count.size(4)}, weight.options());
        box(sum, start, roi, factor).add_(decoded * weight);
        box(count, start, roi, factor).add_(weight);
      }
    }
  }
  return sum / count;
}

}  // namespace medgen::maisi
