// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

#include <medgen/sdk/noise.hpp>

#include <type_traits>

namespace medgen::kernels {

/// Elements [first, first + count) of one stream of noise, N(0,1) or uniform in [0,1), in blocks of four
/// (docs/numerics.md). T is float or double.
template <typename T, bool kNormal>
struct NoiseRun {
  static constexpr bool kFine = !kNormal && std::is_same_v<T, double>;

  noise::Stream stream;
  std::int64_t first;
  std::int64_t count;
  T* out;

  /// Of blocks that hold some of the elements.
  MEDGEN_KERNEL std::int64_t size() const { return (first + count + 3) / 4 - first / 4; }

  /// The word pair (w[at], w[at + 1]) as the values of its two elements.
  MEDGEN_KERNEL void values(const noise::Words& w, const noise::Words& fine, int at, T& even, T& odd) const {
    if constexpr (kNormal) {
      const noise::Pair pair = noise::box_muller(w.w[at], w.w[at + 1]);
      even = static_cast<T>(pair.first);
      odd = static_cast<T>(pair.second);
    } else if constexpr (std::is_same_v<T, float>) {
      even = noise::uniform_float(w.w[at]);
      odd = noise::uniform_float(w.w[at + 1]);
    } else {
      even = noise::uniform_double(w.w[at], fine.w[at]);
      odd = noise::uniform_double(w.w[at + 1], fine.w[at + 1]);
    }
  }

  /// Blocks [from, from + N), counted from the one that holds `first`.
  template <int N>
  MEDGEN_KERNEL void run(std::int64_t from) const {
    T all[4][N];
    for (int i = 0; i < N; ++i) {
      const auto block = static_cast<std::uint32_t>(first / 4 + from + i);
      const noise::Words w = noise::words(stream, block);
      const noise::Words fine = kFine ? noise::fine_words(stream, block) : w;
      values(w, fine, 0, all[0][i], all[1][i]);
      values(w, fine, 2, all[2][i], all[3][i]);
    }
    const std::int64_t start = (first / 4 + from) * 4 - first;  // of `out`; the first and the last block may stick out
    const bool inside = start >= 0 && start + 4 * N <= count;
    for (int i = 0; i < N; ++i) {
      for (int lane = 0; lane < 4; ++lane) {
        const std::int64_t to = start + 4 * i + lane;
        if (inside || (to >= 0 && to < count)) out[to] = all[lane][i];
      }
    }
  }
};

}  // namespace medgen::kernels
