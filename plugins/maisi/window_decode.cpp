// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/window_decode.h"

#include "plugins/support/nn/planes.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/repeat_interleave.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

namespace medgen::maisi {
namespace {

constexpr double kSigmaScale = 0.125;  // of the window
constexpr float kSmallestWeight = 1e-3F;

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

/// exp(-x^2 / 2 sigma^2) on each axis, on the voxel grid of a decoded window.
nn::BlendWeights gaussian(const std::array<std::int64_t, 3>& roi, std::int64_t factor, at::Device device) {
  nn::BlendWeights weights;
  float smallest = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double sigma = kSigmaScale * static_cast<double>(roi[axis]);
    const at::Tensor x = at::arange(roi[axis], at::kFloat) - static_cast<double>(roi[axis] - 1) / 2;
    const at::Tensor weight = (x.square() / (-2 * sigma * sigma)).exp();
    smallest *= weight.min().item<float>();
    weights.axis[axis] = weight.repeat_interleave(factor).to(device);
  }
  weights.smallest = std::max(smallest, kSmallestWeight);
  return weights;
}

at::Tensor box(const at::Tensor& tensor, const std::array<std::int64_t, 3>& start,
               const std::array<std::int64_t, 3>& size) {
  at::Tensor view = tensor;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    view = view.narrow(static_cast<std::int64_t>(2 + axis), start[axis], size[axis]);
  }
  return view;
}

}  // namespace

std::int64_t Windows::count() const {
  std::int64_t count = 1;
  for (const auto& along : origins) count *= static_cast<std::int64_t>(along.size());
  return count;
}

Windows windows_over(at::IntArrayRef z, const WindowOptions& options) {
  double latent = 1, window = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    latent *= static_cast<double>(z[2 + axis]);
    window *= static_cast<double>(options.roi[axis]);
  }
  const bool whole = window == 0 || latent <= window;
  Windows windows;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t length = z[2 + axis];
    windows.size[axis] = whole ? length : std::min(options.roi[axis], length);
    windows.origins[axis] = starts(length, windows.size[axis], options.overlap);
  }
  return windows;
}

at::Tensor decode_in_windows(const at::Tensor& z, const Windows& windows, std::int64_t factor,
                             const std::function<at::Tensor(const at::Tensor&)>& decode) {
  if (windows.count() == 1) return decode(z);
  const nn::BlendWeights weights = gaussian(windows.size, factor, z.device());
  at::Tensor sum;
  const at::TensorOptions options_of_sum = at::TensorOptions(at::kFloat).device(z.device());
  const at::Tensor count =
      at::zeros({1, 1, z.size(2) * factor, z.size(3) * factor, z.size(4) * factor}, options_of_sum);
  for (const std::int64_t i : windows.origins[0]) {
    for (const std::int64_t j : windows.origins[1]) {
      for (const std::int64_t k : windows.origins[2]) {
        const at::Tensor decoded = decode(box(z, {i, j, k}, windows.size));
        if (!sum.defined())
          sum = at::zeros({1, decoded.size(1), count.size(2), count.size(3), count.size(4)}, options_of_sum);
        nn::blend_window(decoded, weights, {i * factor, j * factor, k * factor}, sum);
        nn::blend_weights(weights, {i * factor, j * factor, k * factor}, count);
      }
    }
  }
  return sum.div_(count);
}

}  // namespace medgen::maisi
