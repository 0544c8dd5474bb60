// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd_cubes.h"

#include "kernels/cpu/winograd_lines.h"

#include <algorithm>

namespace medgen::kernels {
namespace {

constexpr int kSide = 6;                  ///< planes that a cube hangs on
constexpr int kPlane = kWinogradNumbers;  ///< transformed numbers of one of them

template <typename T>
MEDGEN_KERNEL void weights_of(const WinogradWeights<T>& w, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(w.out), matrix = winograd_channels(w.in) * width;
  for (std::int64_t block = from; block < to; ++block) {
    Lanes lines[kKernelNumbers * kLanes];
    const WeightBlock at = gather_weights(w, block, lines);
    for (std::int64_t c = 0; c < kLanes; ++c) {
      Lanes g[kKernelNumbers], deep[kSide * 9], u[kPlane];
      for (int i = 0; i < kKernelNumbers; ++i) g[i] = lines[i * kLanes + c];
      for (int i = 0; i < 9; ++i) transform_weights(g + i, 9, deep + i, 9);
      float* const out = w.transformed + (at.in + c) * width + at.out;
      for (int plane = 0; plane < kSide; ++plane) {
        transform_weights_plane(deep + 9 * plane, u);
        for (int i = 0; i < kPlane; ++i) store_and_prefetch(u[i], out + (kPlane * plane + i) * matrix, width);
      }
    }
  }
}

template <typename T>
MEDGEN_KERNEL void input_of(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,
                            std::int64_t stride) {
  for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
    TileVoxels<T> voxels[kSide];
    for (int i = 0; i < kSide; ++i) voxels[i].find(x, plane + i, Place(tiles.first + tile, x.columns));
    float* const out = v + tile * x.channels;
    for (std::int64_t c = 0; c < x.channels; c += kLanes) {
      Lanes deep[kWinogradCube], u[kPlane];
      for (int i = 0; i < kPlane; ++i) {
        Lanes d[kSide];
#pragma GCC unroll 6
        for (int p = 0; p < kSide; ++p) d[p] = voxels[p].at(i, c);
        if (TileVoxels<T>::wants_next(i, c)) {
          for (int p = 0; p < kSide; ++p) voxels[p].prefetch_next(i, c, x.channels);
        }
        transform_input(d, 1, deep + i, kPlane);
      }
      for (int p = 0; p < kSide; ++p) {
        transform_input_plane(deep + kPlane * p, u);
        for (int i = 0; i < kPlane; ++i) store_lanes(u[i], out + (kPlane * p + i) * stride + c);
      }
    }
  }
}

/// One cube's results of 16 channels.
MEDGEN_KERNEL void results_of(const float* m, std::int64_t stride, Lanes* result) {
  Lanes deep[kSide * 16];
  for (int p = 0; p < kSide; ++p) {
    Lanes numbers[kPlane];
    for (int i = 0; i < kPlane; ++i) numbers[i] = load_and_prefetch(m + (kPlane * p + i) * stride);
    transform_output_plane(numbers, deep + 16 * p);
  }
  for (int i = 0; i < 16; ++i) transform_output(deep + i, 16, result + i, 16);
}

template <typename T>
MEDGEN_KERNEL void output_of(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y) {
  const std::int64_t planes = std::min(kWinogradTile, y.planes - plane);
  for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
    const Place place(tiles.first + tile, y.columns);
    const std::int64_t rows = std::min(kWinogradTile, y.rows - place.row);
    const std::int64_t columns = std::min(kWinogradTile, y.columns - place.column);
    for (std::int64_t c = 0; c < sums.width; c += kLanes) {
      const std::int64_t lanes = std::min(kLanes, y.channels - sums.from - c);
      Lanes result[64];
      results_of(sums.m + tile * sums.width + c, sums.stride, result);
      const Lanes bias = load_lanes(sums.bias + sums.from + c);
      for (std::int64_t i = 0; i < planes * rows; ++i) {
        const std::int64_t p = i / rows, row = i % rows;
        const std::int64_t voxel = ((plane + p) * y.rows + place.row + row) * y.columns + place.column;
        T* const first = y.data + voxel * y.channels + sums.from + c;
        prefetch_next_tile(first, c, y.channels);
        for (std::int64_t column = 0; column < columns; ++column) {
          put_lanes(result[16 * p + kWinogradTile * row + column] + bias, lanes, sums.add, first + column * y.channels);
        }
      }
    }
  }
}

/// A along the four planes of a tile's slopes of 16 channels: [6][16].
template <typename T>
MEDGEN_KERNEL void deep_slopes(const Planes<const T>& dy, std::int64_t plane, const Place& place, std::int64_t c,
                               Lanes* deep) {
  for (std::int64_t i = 0; i < 16; ++i) {
    Lanes y[kWinogradTile];
#pragma GCC unroll 4
    for (std::int64_t d = 0; d < kWinogradTile; ++d) y[d] = slope_at(dy, plane + d, place, i, c);
    transform_slopes(y, 1, deep + i, 16);
  }
}

template <typename T>
MEDGEN_KERNEL void slopes_of(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m,
                             std::int64_t stride, std::int64_t row) {
  for (std::int64_t first = 0; first < tiles.count; first += kLanes) {
    const std::int64_t count = std::min(kLanes, tiles.count - first);
    for (std::int64_t c = 0; c < dy.channels; c += kLanes) {
      Lanes deep[kLanes * kSide * 16];
      for (std::int64_t tile = 0; tile < count; ++tile) {
        deep_slopes(dy, plane, Place(tiles.first + first + tile, dy.columns), c, deep + tile * kSide * 16);
      }
      for (int p = 0; p < kSide; ++p) {
        Lanes u[kPlane * kLanes];
        for (std::int64_t tile = 0; tile < count; ++tile) {
          Lanes one[kPlane];
          transform_slopes_plane(deep + (tile * kSide + p) * 16, one);
          for (int i = 0; i < kPlane; ++i) u[i * kLanes + tile] = one[i];
        }
        store_slopes(u, count, m + kPlane * p * stride + c * row + first, stride, row);
      }
    }
  }
}

MEDGEN_KERNEL void gradient_of(const WinogradGradient& g, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(g.in), matrix = winograd_channels(g.out) * width;
  for (std::int64_t k = from; k < to; ++k) {
    for (std::int64_t c = 0; c < g.in; c += kLanes) {
      const float* const sums = g.sums + k * width + c;
      Lanes deep[kSide * 9], result[kKernelNumbers];
      for (int p = 0; p < kSide; ++p) {
        Lanes u[kPlane];
        for (int i = 0; i < kPlane; ++i) u[i] = load_lanes(sums + (kPlane * p + i) * matrix);
        transform_gradient_plane(u, deep + 9 * p);
      }
      for (int i = 0; i < 9; ++i) transform_gradient(deep + i, 9, result + i, 9);
      store_weights(result, kKernelNumbers, g, k * kKernelNumbers, c);
    }
  }
}

MEDGEN_WINOGRAD_CLONES(float)
MEDGEN_WINOGRAD_CLONES(Bf16)
MEDGEN_SLOPES_CLONES(float)
MEDGEN_SLOPES_CLONES(Bf16)
MEDGEN_GRADIENT_CLONES

}  // namespace

template <typename T>
void winograd_cube_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to) {
  run_weights(weights, from, to);
}

template <typename T>
void winograd_cube_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,
                         std::int64_t stride) {
  run_input(x, plane, tiles, v, stride);
}

template <typename T>
void winograd_cube_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y) {
  run_output(sums, plane, tiles, y);
}

template <typename T>
void winograd_cube_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m,
                          std::int64_t stride, std::int64_t row) {
  run_slopes(dy, plane, tiles, m, stride, row);
}

void winograd_cube_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to) {
  run_gradient(gradient, from, to);
}

#define MEDGEN_INSTANTIATE_CUBES(T)                                                                             \
  template void winograd_cube_weights(const WinogradWeights<T>&, std::int64_t, std::int64_t);                   \
  template void winograd_cube_input(const Planes<const T>&, std::int64_t, WinogradTiles, float*, std::int64_t); \
  template void winograd_cube_output(const WinogradSums&, std::int64_t, WinogradTiles, const Planes<T>&);       \
  template void winograd_cube_slopes(const Planes<const T>&, std::int64_t, WinogradTiles, float*, std::int64_t, \
                                     std::int64_t);
MEDGEN_INSTANTIATE_CUBES(float)
MEDGEN_INSTANTIATE_CUBES(Bf16)

}  // namespace medgen::kernels
