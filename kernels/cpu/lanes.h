// SPDX-License-Identifier: Apache-2.0
// Sixteen numbers at a time, for loops that the compiler does not make vector code of. Without the instructions they
// are taken apart.
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

inline constexpr std::int64_t kLanes = 16;

using Lanes = float __attribute__((vector_size(4 * kLanes), aligned(4)));
using Bits = std::uint32_t __attribute__((vector_size(4 * kLanes), aligned(4)));

MEDGEN_KERNEL Lanes load_lanes(const float* from) {
  return *reinterpret_cast<const Lanes*>(from);
}

/// A loop becomes one instruction; a conversion of vectors is taken apart.
MEDGEN_KERNEL Lanes load_lanes(const Bf16* from) {
  Bits bits;
  for (std::int64_t i = 0; i < kLanes; ++i) bits[i] = static_cast<std::uint32_t>(from[i].bits) << 16;
  return reinterpret_cast<Lanes>(bits);
}

MEDGEN_KERNEL void store_lanes(const Lanes& values, float* to) {
  *reinterpret_cast<Lanes*>(to) = values;
}

MEDGEN_KERNEL void store_lanes(const Lanes& values, Bf16* to) {
  for (std::int64_t i = 0; i < kLanes; ++i) store(values[i], to + i);
}

/// Pairs of lines `kStep` apart exchange half of their numbers.
template <int kStep>
MEDGEN_KERNEL void exchange(Lanes* lines) {
  Bits low{}, high{};
#pragma GCC unroll 16
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool second = (lane & kStep) != 0;
    low[lane] = static_cast<std::uint32_t>(second ? lane - kStep + kLanes : lane);
    high[lane] = static_cast<std::uint32_t>(second ? lane + kLanes : lane + kStep);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
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

inline constexpr std::int64_t kCacheLine = 64;

/// Asks for the cache line of `at` before it is wanted. Any address will do, also one where nothing lies.
MEDGEN_KERNEL void prefetch(const void* at) {
  __builtin_prefetch(at);
}

/// Whether a line of cache begins with channel c of a voxel, of voxels that begin with one.
template <typename T>
MEDGEN_KERNEL bool begins_line(std::int64_t c) {
  return c % (kCacheLine / static_cast<std::int64_t>(sizeof(T))) == 0;
}

MEDGEN_KERNEL Lanes exponential(Lanes x) {
  return exponential_of<Lanes, Bits>(x);
}

}  // namespace medgen::kernels
