// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd.h"

#include "kernels/cpu/winograd_lines.h"

#include <algorithm>

namespace medgen::kernels {
namespace {

/// A along one line of four, which makes six.
MEDGEN_KERNEL void transform_slopes(const Lanes* y, int from, Lanes* m, int to) {
  const Lanes y0 = y[0], y1 = y[from], y2 = y[2 * from], y3 = y[3 * from];
  m[0] = y0;
  const Lanes even_a = y0 + 0.5F * y2, odd_a = kA * y1 + 0.5F * kA * y3;
  m[to] = even_a + odd_a;
  m[2 * to] = even_a - odd_a;
  const Lanes even_b = y0 + 2 * y2, odd_b = kB * y1 + 2 * kB * y3;
  m[3 * to] = even_b + odd_b;
  m[4 * to] = even_b - odd_b;
  m[5 * to] = y3;
}

/// G^T along one line of six, which makes three.
MEDGEN_KERNEL void transform_gradient(const Lanes* u, int from, Lanes* g, int to) {
  const Lanes sum_a = u[from] + u[2 * from], difference_a = u[from] - u[2 * from];
  const Lanes sum_b = u[3 * from] + u[4 * from], difference_b = u[3 * from] - u[4 * from];
  g[0] = u[0] - (2.0F / 3) * sum_a + (1.0F / 6) * sum_b;
  g[to] = (1.0F / 6 * kB) * difference_b - (2.0F / 3 * kA) * difference_a;
  g[2 * to] = u[5 * from] + (1.0F / 3) * (sum_b - sum_a);
}

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
  const std::int64_t rows = std::min(kWinogradTile, dy.rows - place.row);
  const std::int64_t columns = std::min(kWinogradTile, dy.columns - place.column);
  const T* const first = dy.data + ((plane * dy.rows + place.row) * dy.columns + place.column) * dy.channels + c;
  Lanes half[24] = {};
  for (std::int64_t row = 0; row < rows; ++row) {
    Lanes line[4] = {};
    for (std::int64_t column = 0; column < columns; ++column) {
      line[column] = load_lanes(first + (row * dy.columns + column) * dy.channels);
    }
    transform_slopes(line, 1, half + 6 * row, 1);
  }
  for (int column = 0; column < 6; ++column) transform_slopes(half + column, 6, u + column, 6);
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
      for (std::int64_t i = 0; i < kWinogradNumbers; ++i) {
        Lanes* const lines = u + i * kLanes;
        for (std::int64_t tile = count; tile < kLanes; ++tile) lines[tile] = Lanes{};
        transpose_lanes(lines);
        float* const to = m + i * stride + c * row + first;
        for (std::int64_t channel = 0; channel < kLanes; ++channel) {
          const Lanes values = lines[channel];
          if (count == kLanes) {
            store_lanes(values, to + channel * row);
            continue;
          }
          for (std::int64_t tile = 0; tile < count; ++tile) to[channel * row + tile] = values[tile];
        }
      }
    }
  }
}

MEDGEN_KERNEL void gradient_of(const WinogradGradient& g, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(g.in), matrix = winograd_channels(g.out) * width;
  for (std::int64_t k = from; k < to; ++k) {
    for (std::int64_t tap = 0; tap < g.taps; ++tap) {
      for (std::int64_t c = 0; c < g.in; c += kLanes) {
        Lanes u[36], half[18], result[9];
        const float* const sums = g.sums + tap * matrix + k * width + c;
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) u[i] = load_lanes(sums + i * g.taps * matrix);
        for (int row = 0; row < 6; ++row) transform_gradient(u + 6 * row, 1, half + 3 * row, 1);
        for (int column = 0; column < 3; ++column) transform_gradient(half + column, 3, result + column, 3);
        float* const dg = g.dg + (k * g.taps + tap) * 9 * g.in + c;
        const std::int64_t lanes = std::min(kLanes, g.in - c);
        for (std::int64_t i = 0; i < 9; ++i) {
          for (std::int64_t lane = 0; lane < lanes; ++lane) dg[i * g.in + lane] = result[i][lane];
        }
      }
    }
  }
}

#define MEDGEN_SLOPES_CLONES(T)                                                                               \
  MEDGEN_CLONES void run_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m, \
                                std::int64_t stride, std::int64_t row) {                                      \
    slopes_of(dy, plane, tiles, m, stride, row);                                                              \
  }
MEDGEN_WINOGRAD_CLONES(float)
MEDGEN_WINOGRAD_CLONES(Bf16)
MEDGEN_SLOPES_CLONES(float)
MEDGEN_SLOPES_CLONES(Bf16)

MEDGEN_CLONES void run_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to) {
  gradient_of(gradient, from, to);
}

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
