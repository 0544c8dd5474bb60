// SPDX-License-Identifier: Apache-2.0
// What the transforms of Winograd's filtering (kernels/winograd.h) share: numbers of 16 channels, along lines and in
// planes.
#pragma once

#include "kernels/cpu/clones.h"
#include "kernels/cpu/lanes.h"
#include "kernels/winograd.h"

#include <algorithm>

namespace medgen::kernels {

static_assert(kLanes == kWinogradLanes);

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

/// B^T d B: 36 -> 36.
MEDGEN_KERNEL void transform_input_plane(const Lanes* d, Lanes* v) {
  Lanes half[36];
  for (int row = 0; row < 6; ++row) transform_input(d + 6 * row, 1, half + 6 * row, 1);
  for (int column = 0; column < 6; ++column) transform_input(half + column, 6, v + column, 6);
}

/// A^T m A: 36 -> 16.
MEDGEN_KERNEL void transform_output_plane(const Lanes* m, Lanes* y) {
  Lanes half[24];
  for (int row = 0; row < 6; ++row) transform_output(m + 6 * row, 1, half + 4 * row, 1);
  for (int column = 0; column < 4; ++column) transform_output(half + column, 4, y + column, 4);
}

/// G g G^T: 9 -> 36.
MEDGEN_KERNEL void transform_weights_plane(const Lanes* g, Lanes* u) {
  Lanes half[18];
  for (int row = 0; row < 3; ++row) transform_weights(g + 3 * row, 1, half + 6 * row, 1);
  for (int column = 0; column < 6; ++column) transform_weights(half + column, 6, u + column, 6);
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

/// A y A^T: 16 -> 36.
MEDGEN_KERNEL void transform_slopes_plane(const Lanes* y, Lanes* m) {
  Lanes half[24];
  for (int row = 0; row < 4; ++row) transform_slopes(y + 4 * row, 1, half + 6 * row, 1);
  for (int column = 0; column < 6; ++column) transform_slopes(half + column, 6, m + column, 6);
}

/// G^T u G: 36 -> 9.
MEDGEN_KERNEL void transform_gradient_plane(const Lanes* u, Lanes* g) {
  Lanes half[18];
  for (int row = 0; row < 6; ++row) transform_gradient(u + 6 * row, 1, half + 3 * row, 1);
  for (int column = 0; column < 3; ++column) transform_gradient(half + column, 3, g + column, 3);
}

constexpr int kKernelNumbers = 27;  ///< weights for one input of one result, of a volume

/// The first result and the first input of 16 each.
struct WeightBlock {
  std::int64_t out, in;
};

/// Block `block` of the weights, inputs first, as lines of 16 results: [9 * taps][input]. Zeros where there are none.
template <typename T>
MEDGEN_KERNEL WeightBlock gather_weights(const WinogradWeights<T>& w, std::int64_t block, Lanes* lines) {
  const std::int64_t inputs = winograd_channels(w.in) / kLanes;
  const WeightBlock at{block / inputs * kLanes, block % inputs * kLanes};
  const std::int64_t outs = std::min(kLanes, w.out - at.out), ins = std::min(kLanes, w.in - at.in);
  const bool whole = outs == kLanes && ins == kLanes;
  for (std::int64_t i = 0; i < 9 * w.taps; ++i) {
    const T* const first = w.g + at.out * w.stride[0] + at.in * w.stride[1] + i / 9 * w.stride[2] +
                           i / 3 % 3 * w.stride[3] + i % 3 * w.stride[4];
    Lanes* const to = lines + i * kLanes;
    if (whole && w.stride[0] == 1) {
      for (std::int64_t c = 0; c < kLanes; ++c) to[c] = load_lanes(first + c * w.stride[1]);
    } else if (whole && w.stride[1] == 1) {
      for (std::int64_t k = 0; k < kLanes; ++k) to[k] = load_lanes(first + k * w.stride[0]);
      transpose_lanes(to);
    } else {
      for (std::int64_t c = 0; c < kLanes; ++c) to[c] = Lanes{};
      for (std::int64_t n = 0; n < outs * ins; ++n) {
        to[n % ins][n / ins] = load(first[n / ins * w.stride[0] + n % ins * w.stride[1]]);
      }
    }
  }
  return at;
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

/// The 6 x 6 voxels of one plane that a tile hangs on.
template <typename T>
class TileVoxels {
 public:
  MEDGEN_KERNEL void find(const Planes<const T>& x, std::int64_t plane, const Place& place) {
    const bool outside = plane < 0 || plane >= x.planes;
    for (std::int64_t i = 0; i < 36; ++i) {
      const std::int64_t row = place.row - 1 + i / 6, column = place.column - 1 + i % 6;
      const bool zero = outside || row < 0 || row >= x.rows || column < 0 || column >= x.columns;
      voxel_[i] = zero ? kZeros : x.data + ((plane * x.rows + row) * x.columns + column) * x.channels;
      mask_[i] = zero ? 0 : -1;
    }
  }

  /// Channels from c on of voxel i; zeros outside of x.
  MEDGEN_KERNEL Lanes at(std::int64_t i, std::int64_t c) const { return load_lanes(voxel_[i] + (c & mask_[i])); }

  /// Whether to prefetch channels from c on of voxel i of the tile behind this one: where it is none of this one's.
  MEDGEN_KERNEL static bool wants_next(std::int64_t i, std::int64_t c) { return i % 6 >= 2 && begins_line<T>(c); }

  MEDGEN_KERNEL void prefetch_next(std::int64_t i, std::int64_t c, std::int64_t channels) const {
    prefetch(voxel_[i] + c + kWinogradTile * channels);
  }

 private:
  static constexpr T kZeros[kLanes] = {};

  const T* voxel_[36];
  std::int64_t mask_[36];  ///< of channels; of zeros there are 16
};

/// Slope i of the 4 x 4 of a tile, channels from c on; zeros outside of dy.
template <typename T>
MEDGEN_KERNEL Lanes slope_at(const Planes<const T>& dy, std::int64_t plane, const Place& place, std::int64_t i,
                             std::int64_t c) {
  const std::int64_t row = place.row + i / kWinogradTile, column = place.column + i % kWinogradTile;
  if (plane >= dy.planes || row >= dy.rows || column >= dy.columns) return Lanes{};
  return load_lanes(dy.data + ((plane * dy.rows + row) * dy.columns + column) * dy.channels + c);
}

/// 36 transformed slopes of 16 channels of `count` tiles, [number][tile], as [number][channel][tile].
MEDGEN_KERNEL void store_slopes(Lanes* u, std::int64_t count, float* m, std::int64_t stride, std::int64_t row) {
  for (std::int64_t i = 0; i < kWinogradNumbers; ++i) {
    Lanes* const lines = u + i * kLanes;
    for (std::int64_t tile = count; tile < kLanes; ++tile) lines[tile] = Lanes{};
    transpose_lanes(lines);
    float* const to = m + i * stride;
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

/// `count` weights from the one at `first` on, of 16 inputs from c on, as many as there are.
MEDGEN_KERNEL void store_weights(const Lanes* values, std::int64_t count, const WinogradGradient& g, std::int64_t first,
                                 std::int64_t c) {
  const std::int64_t lanes = std::min(kLanes, g.in - c);
  float* const dg = g.dg + first * g.in + c;
  for (std::int64_t i = 0; i < count; ++i) {
    if (lanes == kLanes) {
      store_lanes(values[i], dg + i * g.in);
      continue;
    }
    for (std::int64_t lane = 0; lane < lanes; ++lane) dg[i * g.in + lane] = values[i][lane];
  }
}

// Transformed numbers lie far apart, where no processor looks by itself. Those that come next lie behind these.

/// Prefetches what is stored next.
MEDGEN_KERNEL void store_and_prefetch(const Lanes& number, float* to, std::int64_t next) {
  store_lanes(number, to);
  prefetch(to + next);
}

/// Prefetches the next 16.
MEDGEN_KERNEL Lanes load_and_prefetch(const float* from) {
  prefetch(from + kLanes);
  return load_lanes(from);
}

/// Prefetches the line of results behind the line `line` of a tile's.
template <typename T>
MEDGEN_KERNEL void prefetch_next_tile(const T* line, std::int64_t c, std::int64_t channels) {
  if (!begins_line<T>(c)) return;
  for (std::int64_t column = 0; column < kWinogradTile; ++column) prefetch(line + (kWinogradTile + column) * channels);
}

/// Puts one result of 16 channels, or adds it; the first `lanes` of them where the map has no more.
template <typename T>
MEDGEN_KERNEL void put_lanes(const Lanes& value, std::int64_t lanes, bool add, T* voxel) {
  if (lanes == kLanes) return store_lanes(add ? value + load_lanes(voxel) : value, voxel);
  for (std::int64_t lane = 0; lane < lanes; ++lane)
    store(add ? value[lane] + load(voxel[lane]) : value[lane], voxel + lane);
}

// Clones are made of functions, not of templates: those of weights_of, input_of and output_of.
#define MEDGEN_WINOGRAD_CLONES(T)                                                                           \
  MEDGEN_CLONES void run_weights(const WinogradWeights<T>& weights, std::int64_t from, std::int64_t to) {   \
    weights_of(weights, from, to);                                                                          \
  }                                                                                                         \
  MEDGEN_CLONES void run_input(const Planes<const T>& x, std::int64_t plane, WinogradTiles tiles, float* v, \
                               std::int64_t stride) {                                                       \
    input_of(x, plane, tiles, v, stride);                                                                   \
  }                                                                                                         \
  MEDGEN_CLONES void run_output(const WinogradSums& sums, std::int64_t plane, WinogradTiles tiles,          \
                                const Planes<T>& y) {                                                       \
    output_of(sums, plane, tiles, y);                                                                       \
  }

// And those of slopes_of and gradient_of.
#define MEDGEN_SLOPES_CLONES(T)                                                                               \
  MEDGEN_CLONES void run_slopes(const Planes<const T>& dy, std::int64_t plane, WinogradTiles tiles, float* m, \
                                std::int64_t stride, std::int64_t row) {                                      \
    slopes_of(dy, plane, tiles, m, stride, row);                                                              \
  }
#define MEDGEN_GRADIENT_CLONES                                                                            \
  MEDGEN_CLONES void run_gradient(const WinogradGradient& gradient, std::int64_t from, std::int64_t to) { \
    gradient_of(gradient, from, to);                                                                      \
  }

}  // namespace medgen::kernels
