// SPDX-License-Identifier: Apache-2.0
// Feature maps as Winograd's filtering takes them (winograd.h).
#pragma once

#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"

#include "kernels/winograd.h"

#include <type_traits>

namespace medgen::nn {

/// Numbers between arrays of transformed ones, which would otherwise lie a power of two apart.
inline constexpr int64_t kSpread = 16;

/// x channels-last, with channels of zeros up to a multiple of 16.
inline at::Tensor filled_channels(const at::Tensor& x) {
  const int64_t channels = kernels::winograd_channels(x.size(1));
  if (channels == x.size(1)) return channels_last(x);
  const at::Tensor filled = empty_map(x, channels, x.scalar_type()).zero_();
  filled.narrow(1, 0, x.size(1)).copy_(x);
  return filled;
}

/// Sample n of a channels-last map, (N, C, H, W) being one plane.
template <typename T>
kernels::Planes<T> planes_of(const at::Tensor& x, int64_t n) {
  const int64_t axes = x.dim() - 2;
  auto* const data = static_cast<std::remove_const_t<T>*>(x.data_ptr());
  return {data + n * x.stride(0), axes == 3 ? x.size(2) : 1, x.size(axes), x.size(axes + 1), x.size(1)};
}

}  // namespace medgen::nn
