// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd.h"

#include "kernels/cpu/winograd_lines.h"

#include <algorithm>

namespace medgen::kernels {
namespace {

template <typename T>
MEDGEN_KERNEL void weights_of(const WinogradWeights<T>& w, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(w.out), matrix = winograd_channels(w.in) * width;
  for (std::int64_t block = from; block < to; ++block) {
    Lanes lines[kKernelNumbers * kLanes];
    const WeightBlock at = gather_weights(w, block, lines);
    for (std::int64_t tap = 0; tap < w.taps; ++tap) {
      for (std::int64_t c = 0; c < kLanes; ++c) {
        Lanes g[9], u[36];
        for (std::int64_t i = 0; i < 9; ++i) g[i] = lines[(9 * tap + i) * kLanes + c];
        transform_weights_plane(g, u);
        float* const out = w.transformed + tap * matrix + (at.in + c) * width + at.out;
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) store_and_prefetch(u[i], out + i * w.taps * matrix, width);
      }
    }
  }
}

template <typename T>
MEDGEN_KERNEL void input_of(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,
                            std::int64_t stride) {
  for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
    TileVoxels<T> voxels;
    voxels.find(x, plane, Place(tiles.first + tile, x.columns));
    float* const out = v + tile * x.channels;
    for (std::int64_t c = 0; c < x.channels; c += kLanes) {
      Lanes d[36], u[36];
      for (std::int64_t i = 0; i < 36; ++i) d[i] = voxels.at(i, c);
      for (std::int64_t i = 0; i < 36; ++i) {
        if (TileVoxels<T>::wants_next(i, c)) voxels.prefetch_next(i, c, x.channels);
      }
      transform_input_plane(d, u);
      for (std::int64_t i = 0; i < kWinogradNumbers; ++i) store_and_prefetch(u[i], out + i * stride + c, kLanes);
    }
  }
}

template <typename T>
MEDGEN_KERNEL void output_of(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y) {
  for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
    const Place place(tiles.first + tile, y.columns);
    const std::int64_t rows = std::min(kWinogradTile, y.rows - place.row);
    const std::int64_t columns = std::min(kWinogradTile, y.columns - place.column);
    T* const out = y.data + ((plane * y.rows + place.row) * y.columns + place.column) * y.channels + sums.from;
    const float* const m = sums.m + tile * sums.width;
    for (std::int64_t c = 0; c < sums.width; c += kLanes) {
      const std::int64_t lanes = std::min(kLanes, y.channels - sums.from - c);
      Lanes numbers[36], result[16];
      for (std::int64_t i = 0; i < kWinogradNumbers; ++i) numbers[i] = load_and_prefetch(m + i * sums.stride + c);
      transform_output_plane(numbers, result);
      const Lanes bias = load_lanes(sums.bias + sums.from + c);
      for (std::int64_t row = 0; row < rows; ++row) {
        T* const first = out + row * y.columns * y.channels + c;
        prefetch_next_tile(first, c, y.channels);
        for (std::int64_t column = 0; column < columns; ++column) {
          put_lanes(result[row * kWinogradTile + column] + bias, lanes, sums.add, first + column * y.channels);
        }
      }
    }
  }
}

/// One tile's slopes of 16 channels, transformed.
template <typename T>
MEDGEN_KERNEL void slopes_of_tile(const Planes<const T>& dy, std::int64_t plane, const Place& place, std::int64_t c,
                                  Lanes* u) {
  Lanes slopes[16];
  for (std::int64_t i = 0; i < 16; ++i) slopes[i] = slope_at(dy, plane, place, i, c);
  transform_slopes_plane(slopes, u);
}

template <typename T>
MEDGEN_KERNEL void slopes_of(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m,
                             std::int64_t stride, std::int64_t row) {
  for (std::int64_t first = 0; first < tiles.count; first += kLanes) {
    const std::int64_t count = std::min(kLanes, tiles.count - first);
    for (std::int64_t c = 0; c < dy.channels; c += kLanes) {
      Lanes u[kWinogradNumbers * kLanes];
      for (std::int64_t tile = 0; tile < count; ++tile) {
        Lanes one[kWinogradNumbers];
        slopes_of_tile(dy, plane, Place(tiles.first + first + tile, dy.columns), c, one);
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) u[i * kLanes + tile] = one[i];
      }
      store_slopes(u, count, m + c * row + first, stride, row);
    }
  }
}

MEDGEN_KERNEL void gradient_of(const WinogradGradient& g, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(g.in), matrix = winograd_channels(g.out) * width;
  for (std::int64_t k = from; k < to; ++k) {
    for (std::int64_t tap = 0; tap < g.taps; ++tap) {
      for (std::int64_t c = 0; c < g.in; c += kLanes) {
        Lanes u[36], result[9];
        const float* const sums = g.sums + tap * matrix + k * width + c;
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) u[i] = load_lanes(sums + i * g.taps * matrix);
        transform_gradient_plane(u, result);
        store_weights(result, 9, g, (k * g.taps + tap) * 9, c);
      }
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
void winograd_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to) {
  run_weights(weights, from, to);
}

template <typename T>
void winograd_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v, std::int64_t stride) {
  run_input(x, plane, tiles, v, stride);
}

template <typename T>
void winograd_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles, const Planes<T>& y) {
  run_output(sums, plane, tiles, y);
}

template <typename T>
void winograd_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m, std::int64_t stride,
                     std::int64_t row) {
  run_slopes(dy, plane, tiles, m, stride, row);
}

void winograd_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to) {
  run_gradient(gradient, from, to);
}

#define MEDGEN_INSTANTIATE_WINOGRAD(T)                                                                     \
  template void winograd_weights(const WinogradWeights<T>&, std::int64_t, std::int64_t);                   \
  template void winograd_input(const Planes<const T>&, std::int64_t, WinogradTiles, float*, std::int64_t); \
  template void winograd_output(const WinogradSums&, std::int64_t, WinogradTiles, const Planes<T>&);       \
  template void winograd_slopes(const Planes<const T>&, std::int64_t, WinogradTiles, float*, std::int64_t, \
                                std::int64_t);
MEDGEN_INSTANTIATE_WINOGRAD(float)
MEDGEN_INSTANTIATE_WINOGRAD(Bf16)

}  // namespace medgen::kernels
