// SPDX-License-Identifier: Apache-2.0
#include "kernels/winograd.h"

#include "kernels/cpu/clones.h"

#include <algorithm>
#include <array>

namespace medgen::kernels {
namespace {

using Lanes = float __attribute__((vector_size(4 * kWinogradLanes), aligned(4)));
using Bits = std::uint32_t __attribute__((vector_size(4 * kWinogradLanes), aligned(4)));
using HalfBits = std::uint16_t __attribute__((vector_size(2 * kWinogradLanes), aligned(2)));

MEDGEN_KERNEL Lanes load_lanes(const float* from) {
  return *reinterpret_cast<const Lanes*>(from);
}

MEDGEN_KERNEL Lanes load_lanes(const Bf16* from) {
  const auto& bits = *reinterpret_cast<const HalfBits*>(from);
  return reinterpret_cast<Lanes>(__builtin_convertvector(bits, Bits) << 16);
}

MEDGEN_KERNEL void store_lanes(const Lanes& values, float* to) {
  *reinterpret_cast<Lanes*>(to) = values;
}

MEDGEN_KERNEL void store_lanes(const Lanes& values, Bf16* to) {
  for (std::int64_t i = 0; i < kWinogradLanes; ++i) store(values[i], to + i);
}

// The points: 0, +-a, +-b and infinity, with a b = 1.
constexpr float kA = 0.70710678F, kB = 1.41421356F;

/// B^T along one line of six.
MEDGEN_KERNEL void transform_input(const Lanes* d, int from, Lanes* v, int to) {
  const Lanes d1 = d[from], d2 = d[2 * from], d3 = d[3 * from], d4 = d[4 * from];
  v[0] = d[0] - 2.5F * d2 + d4;
  const Lanes even_a = d4 - 2 * d2, odd_a = kA * d3 - kB * d1;
  v[to] = even_a + odd_a;
  v[2 * to] = even_a - odd_a;
  const Lanes even_b = d4 - 0.5F * d2, odd_b = kB * d3 - kA * d1;
  v[3 * to] = even_b + odd_b;
  v[4 * to] = even_b - odd_b;
  v[5 * to] = d1 - 2.5F * d3 + d[5 * from];
}

/// A^T along one line of six, which makes four.
MEDGEN_KERNEL void transform_output(const Lanes* m, int from, Lanes* y, int to) {
  const Lanes sum_a = m[from] + m[2 * from], difference_a = m[from] - m[2 * from];
  const Lanes sum_b = m[3 * from] + m[4 * from], difference_b = m[3 * from] - m[4 * from];
  y[0] = m[0] + sum_a + sum_b;
  y[to] = kA * difference_a + kB * difference_b;
  y[2 * to] = 0.5F * sum_a + 2 * sum_b;
  y[3 * to] = 0.5F * kA * difference_a + 2 * kB * difference_b + m[5 * from];
}

/// G along one line of three, which makes six: the line at each point, divided by the product of that point's distances
/// from the others.
MEDGEN_KERNEL void transform_weights(const Lanes* g, int from, Lanes* u, int to) {
  const Lanes g0 = g[0], g1 = g[from], g2 = g[2 * from];
  u[0] = g0;
  const Lanes even_a = (-2.0F / 3) * g0 - (1.0F / 3) * g2, odd_a = (-2.0F / 3 * kA) * g1;
  u[to] = even_a + odd_a;
  u[2 * to] = even_a - odd_a;
  const Lanes even_b = (1.0F / 6) * g0 + (1.0F / 3) * g2, odd_b = (1.0F / 6 * kB) * g1;
  u[3 * to] = even_b + odd_b;
  u[4 * to] = even_b - odd_b;
  u[5 * to] = g2;
}

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

/// How a tile lies in a plane.
struct Place {
  Place(std::int64_t tile, std::int64_t columns) {
    const std::int64_t across = (columns + kWinogradTile - 1) / kWinogradTile;
    row = tile / across * kWinogradTile;
    column = tile % across * kWinogradTile;
  }

  std::int64_t row, column;  ///< of its first result
};

template <typename T>
MEDGEN_KERNEL void weights_of(const WinogradWeights<T>& w, std::int64_t from, std::int64_t to) {
  const std::int64_t width = winograd_channels(w.out), matrix = winograd_channels(w.in) * width;
  for (std::int64_t k = 0; k < width; k += kWinogradLanes) {
    const std::int64_t results = std::min(kWinogradLanes, w.out - k);
    for (std::int64_t c = from; c < to; ++c) {
      const std::int64_t lanes = c < w.in ? results : 0;
      for (std::int64_t tap = 0; tap < w.taps; ++tap) {
        const T* const first = w.g + k * w.stride[0] + std::min(c, w.in - 1) * w.stride[1] + tap * w.stride[2];
        Lanes g[9] = {}, half[18], u[36];
        for (int i = 0; i < 9; ++i) {
          const T* const one = first + i / 3 * w.stride[3] + i % 3 * w.stride[4];
          for (std::int64_t lane = 0; lane < lanes; ++lane) g[i][lane] = load(one[lane * w.stride[0]]);
        }
        for (int row = 0; row < 3; ++row) transform_weights(g + 3 * row, 1, half + 6 * row, 1);
        for (int column = 0; column < 6; ++column) transform_weights(half + column, 6, u + column, 6);
        float* const out = w.transformed + tap * matrix + c * width + k;
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) store_lanes(u[i], out + i * w.taps * matrix);
      }
    }
  }
}

template <typename T>
MEDGEN_KERNEL void input_of(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,
                            std::int64_t stride) {
  static constexpr T kZeros[kWinogradLanes] = {};
  const bool outside = plane < 0 || plane >= x.planes;
  for (std::int64_t tile = 0; tile < tiles.count; ++tile) {
    const Place place(tiles.first + tile, x.columns);
    std::array<const T*, 36> voxels;
    std::array<std::int64_t, 36> step;
    for (std::int64_t i = 0; i < 36; ++i) {
      const std::int64_t row = place.row - 1 + i / 6, column = place.column - 1 + i % 6;
      const bool zero = outside || row < 0 || row >= x.rows || column < 0 || column >= x.columns;
      voxels[static_cast<std::size_t>(i)] =
          zero ? kZeros : x.data + ((plane * x.rows + row) * x.columns + column) * x.channels;
      step[static_cast<std::size_t>(i)] = zero ? 0 : 1;
    }
    float* const out = v + tile * x.channels;
    for (std::int64_t c = 0; c < x.channels; c += kWinogradLanes) {
      Lanes half[36], u[36];
      for (int row = 0; row < 6; ++row) {
        Lanes d[6];
        for (int column = 0; column < 6; ++column) {
          const auto i = static_cast<std::size_t>(6 * row + column);
          d[column] = load_lanes(voxels[i] + c * step[i]);
        }
        transform_input(d, 1, half + 6 * row, 1);
      }
      for (int column = 0; column < 6; ++column) transform_input(half + column, 6, u + column, 6);
      for (std::int64_t i = 0; i < kWinogradNumbers; ++i) store_lanes(u[i], out + i * stride + c);
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
    for (std::int64_t c = 0; c < sums.width; c += kWinogradLanes) {
      const std::int64_t lanes = std::min(kWinogradLanes, y.channels - sums.from - c);
      Lanes half[24], result[16];
      for (int row = 0; row < 6; ++row) {
        Lanes line[6];
        for (int column = 0; column < 6; ++column) line[column] = load_lanes(m + (6 * row + column) * sums.stride + c);
        transform_output(line, 1, half + 4 * row, 1);
      }
      for (int column = 0; column < 4; ++column) transform_output(half + column, 4, result + column, 4);
      const Lanes bias = load_lanes(sums.bias + sums.from + c);
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t column = 0; column < columns; ++column) {
          T* const voxel = out + (row * y.columns + column) * y.channels + c;
          const Lanes value = result[row * kWinogradTile + column] + bias;
          if (lanes == kWinogradLanes) {
            store_lanes(sums.add ? value + load_lanes(voxel) : value, voxel);
            continue;
          }
          for (std::int64_t lane = 0; lane < lanes; ++lane) {
            store(sums.add ? value[lane] + load(voxel[lane]) : value[lane], voxel + lane);
          }
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

/// Pairs of lines `kStep` apart exchange half of their numbers.
template <int kStep>
MEDGEN_KERNEL void exchange(Lanes* lines) {
  Bits low{}, high{};
#pragma GCC unroll 16
  for (int lane = 0; lane < kWinogradLanes; ++lane) {
    const bool second = (lane & kStep) != 0;
    low[lane] = static_cast<std::uint32_t>(second ? lane - kStep + kWinogradLanes : lane);
    high[lane] = static_cast<std::uint32_t>(second ? lane + kWinogradLanes : lane + kStep);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kWinogradLanes; ++i) {
    if ((i & kStep) != 0) continue;
    const Lanes a = lines[i], b = lines[i + kStep];
    lines[i] = __builtin_shuffle(a, b, low);
    lines[i + kStep] = __builtin_shuffle(a, b, high);
  }
}

/// Sixteen lines of sixteen become its columns.
MEDGEN_KERNEL void transpose_lanes(Lanes* lines) {
  exchange<1>(lines);
  exchange<2>(lines);
  exchange<4>(lines);
  exchange<8>(lines);
}

template <typename T>
MEDGEN_KERNEL void slopes_of(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m,
                             std::int64_t stride, std::int64_t row) {
  for (std::int64_t first = 0; first < tiles.count; first += kWinogradLanes) {
    const std::int64_t count = std::min(kWinogradLanes, tiles.count - first);
    for (std::int64_t c = 0; c < dy.channels; c += kWinogradLanes) {
      Lanes u[kWinogradNumbers * kWinogradLanes];
      for (std::int64_t tile = 0; tile < count; ++tile) {
        Lanes one[kWinogradNumbers];
        slopes_of_tile(dy, plane, Place(tiles.first + first + tile, dy.columns), c, one);
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) u[i * kWinogradLanes + tile] = one[i];
      }
      for (std::int64_t i = 0; i < kWinogradNumbers; ++i) {
        Lanes* const lines = u + i * kWinogradLanes;
        for (std::int64_t tile = count; tile < kWinogradLanes; ++tile) lines[tile] = Lanes{};
        transpose_lanes(lines);
        float* const to = m + i * stride + c * row + first;
        for (std::int64_t channel = 0; channel < kWinogradLanes; ++channel) {
          const Lanes values = lines[channel];
          if (count == kWinogradLanes) {
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
      for (std::int64_t c = 0; c < g.in; c += kWinogradLanes) {
        Lanes u[36], half[18], result[9];
        const float* const sums = g.sums + tap * matrix + k * width + c;
        for (std::int64_t i = 0; i < kWinogradNumbers; ++i) u[i] = load_lanes(sums + i * g.taps * matrix);
        for (int row = 0; row < 6; ++row) transform_gradient(u + 6 * row, 1, half + 3 * row, 1);
        for (int column = 0; column < 3; ++column) transform_gradient(half + column, 3, result + column, 3);
        float* const dg = g.dg + (k * g.taps + tap) * 9 * g.in + c;
        const std::int64_t lanes = std::min(kWinogradLanes, g.in - c);
        for (std::int64_t i = 0; i < 9; ++i) {
          for (std::int64_t lane = 0; lane < lanes; ++lane) dg[i * g.in + lane] = result[i][lane];
        }
      }
    }
  }
}

// Clones are made of functions, not of templates.
#define MEDGEN_WINOGRAD(T)                                                                                    \
  MEDGEN_CLONES void run_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to) {     \
    weights_of(weights, from, to);                                                                            \
  }                                                                                                           \
  MEDGEN_CLONES void run_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v,   \
                               std::int64_t stride) {                                                         \
    input_of(x, plane, tiles, v, stride);                                                                     \
  }                                                                                                           \
  MEDGEN_CLONES void run_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles,            \
                                const Planes<T>& y) {                                                         \
    output_of(sums, plane, tiles, y);                                                                         \
  }                                                                                                           \
  MEDGEN_CLONES void run_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m, \
                                std::int64_t stride, std::int64_t row) {                                      \
    slopes_of(dy, plane, tiles, m, stride, row);                                                              \
  }
MEDGEN_WINOGRAD(float)
MEDGEN_WINOGRAD(Bf16)

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
