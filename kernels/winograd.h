// SPDX-License-Identifier: Apache-2.0
// Winograd's minimal filtering F(4 x 4, 3 x 3): a convolution of planes with a kernel of 3 becomes 36 products of
// matrices, and 16 results take 36 multiplications instead of 144. A tile of 4 x 4 results hangs on 6 x 6 inputs d and
// the kernel g by
//   result = A^T [(G g G^T) . (B^T d B)] A
// with the points 0, +-1/sqrt(2), +-sqrt(2) and infinity, which keep float32's error at that of the plain sum. Source:
// Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.1 and equation 8.
//
// The CPU alone: cuDNN has its own. All of it is float32. Transformed numbers lie as [36][...][channel], channels
// filled up with zeros to a multiple of kWinogradLanes; x has such a multiple.
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

inline constexpr std::int64_t kWinogradTile = 4;      ///< results along a row and a column of a tile
inline constexpr std::int64_t kWinogradNumbers = 36;  ///< of a transformed tile
inline constexpr std::int64_t kWinogradLanes = 16;

/// Tiles [first, first + count) of a plane, of those that cover it row by row.
struct WinogradTiles {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Of a plane.
inline std::int64_t winograd_tiles(std::int64_t rows, std::int64_t columns) {
  const auto along = [](std::int64_t length) { return (length + kWinogradTile - 1) / kWinogradTile; };
  return along(rows) * along(columns);
}

inline std::int64_t winograd_channels(std::int64_t channels) {
  return (channels + kWinogradLanes - 1) / kWinogradLanes * kWinogradLanes;
}

/// G g G^T: `g` are weights (out, in, taps, 3, 3) with strides; `transformed` is
/// [36][taps][winograd_channels(in)][winograd_channels(out)].
template <typename T>
struct WinogradWeights {
  const T* g;
  std::int64_t stride[5];
  std::int64_t out, in, taps;
  float* transformed;
};

/// How many blocks of 16 x 16 weights each of the 9 * taps numbers has.
inline std::int64_t winograd_weight_blocks(std::int64_t in, std::int64_t out) {
  return winograd_channels(in) / kWinogradLanes * (winograd_channels(out) / kWinogradLanes);
}

/// Of the blocks [from, to). Fastest where neighbours along in or out lie side by side.
template <typename T>
void winograd_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to);

/// B^T d B of the tiles of plane `plane` of x; outside of x lie zeros. Into v: number i of tile t and channel c is
/// v[i * stride + t * x.channels + c].
template <typename T>
void winograd_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v, std::int64_t stride);

/// y = A^T m A + bias, or y += that, for the tiles of plane `plane`, and the channels of y from `from` on: number i of
/// tile t and channel from + c is m[i * stride + t * width + c].
struct WinogradSums {
  const float* m;
  std::int64_t stride;
  std::int64_t from, width;
  const float* bias;  ///< winograd_channels(y.channels) numbers
  bool add;
};

template <typename T>
void winograd_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y);

// The gradient of the weights is dg = G^T [sum over tiles of (B^T d B) . (A dy A^T)] G: that of the formula above, step
// by step from its end.

/// A dy A^T of the tiles of plane `plane` of dy, the gradient of y; outside of it lie zeros. Into m, tile by tile for
/// each channel: number i of tile t and channel c is m[i * stride + c * row + t]. dy.channels is a multiple of
/// kWinogradLanes.
template <typename T>
void winograd_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m, std::int64_t stride,
                     std::int64_t row);

/// `sums` [36][taps][winograd_channels(out)][winograd_channels(in)] -> the gradient `dg` [out][taps][9][in].
struct WinogradGradient {
  const float* sums;
  std::int64_t out, in, taps;
  float* dg;
};

/// Of the weights of the results [from, to).
void winograd_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to);

}  // namespace medgen::kernels
