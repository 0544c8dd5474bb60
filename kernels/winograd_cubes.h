// SPDX-License-Identifier: Apache-2.0
// Winograd's filtering F(4 x 4 x 4, 3 x 3 x 3): that of kernels/winograd.h along all three axes. A convolution of
// volumes becomes 216 products of matrices, and 64 results take 216 multiplications instead of 1728. A cube of 4 x 4 x
// 4 results hangs on 6 x 6 x 6 inputs. Same points, same source (its formula once more along the first axis), same
// order of numbers.
#pragma once

#include "kernels/winograd.h"

namespace medgen::kernels {

inline constexpr std::int64_t kWinogradCube = 216;  ///< numbers of a transformed cube

/// Of the blocks [from, to) of the weights, of three taps; `transformed` is
/// [216][winograd_channels(in)][winograd_channels(out)].
template <typename T>
void winograd_cube_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to);

/// The inputs of those tiles of planes [plane, plane + 6) of x; outside of x lie zeros. Into v: number i of tile t and
/// channel c is v[i * stride + t * x.channels + c].
template <typename T>
void winograd_cube_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,
                         std::int64_t stride);

/// y = results + bias, or y += that, for those tiles of planes [plane, plane + 4), as many as y has; `sums` as for
/// winograd_output.
template <typename T>
void winograd_cube_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y);

/// The slopes of those tiles of planes [plane, plane + 4) of dy, transformed; outside of it lie zeros. Into m as
/// winograd_slopes: number i of tile t and channel c is m[i * stride + c * row + t].
template <typename T>
void winograd_cube_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m,
                          std::int64_t stride, std::int64_t row);

/// As winograd_gradient, of three taps, from sums [216][winograd_channels(out)][winograd_channels(in)].
void winograd_cube_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to);

}  // namespace medgen::kernels
