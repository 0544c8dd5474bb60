// SPDX-License-Identifier: Apache-2.0
#include "kernels/launch.h"

#include "kernels/all.h"
#include "kernels/cpu/clones.h"

#include <algorithm>

namespace medgen::kernels {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 15;
constexpr int kTogether = 32;   // elements of one step of an element kernel
constexpr int kSumVoxels = 16;  // whose sums are formed channels by channels, out of the first cache

template <typename Kernel>
MEDGEN_KERNEL void each_line(const Kernel& kernel, std::int64_t from, std::int64_t to) {
  const std::int64_t length = kernel.length();
  for (std::int64_t i = from; i < to; ++i) {
    const auto line = kernel.line(i);
#pragma GCC ivdep
    for (std::int64_t j = 0; j < length; ++j) line(j);
  }
}

template <typename Kernel>
MEDGEN_KERNEL void each_element(const Kernel& kernel, std::int64_t from, std::int64_t to) {
  std::int64_t i = from;
  for (; i + kTogether <= to; i += kTogether) kernel.template run<kTogether>(i);
  for (; i < to; ++i) kernel.template run<1>(i);
}

constexpr int kDoubles = 8, kSumGroups = 4;
constexpr int kSumChannels = kDoubles * kSumGroups;  // a line of the cache, in bfloat16
using Doubles = double __attribute__((vector_size(8 * kDoubles), aligned(8)));

/// Sums of kSumChannels channels over the voxels [from, to), kept in registers; in the order of the functor.
template <typename T>
MEDGEN_KERNEL void sum_lanes(const ChannelSums<T>& kernel, std::int64_t from, std::int64_t to, std::int64_t channel,
                             double* sums, double* squares) {
  auto* const sum = reinterpret_cast<Doubles*>(sums + channel);
  auto* const square = reinterpret_cast<Doubles*>(squares + channel);
  Doubles of_values[kSumGroups], of_squares[kSumGroups];
  for (int group = 0; group < kSumGroups; ++group) of_values[group] = sum[group];
  for (int group = 0; group < kSumGroups; ++group) of_squares[group] = square[group];
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
    const T* const values = kernel.x.data + voxel * kernel.x.channels + channel;
#pragma GCC unroll 4
    for (int group = 0; group < kSumGroups; ++group) {
      Doubles value;
      for (int i = 0; i < kDoubles; ++i) value[i] = load(values[kDoubles * group + i]);
      of_values[group] += value;
      of_squares[group] += value * value;
    }
  }
  for (int group = 0; group < kSumGroups; ++group) sum[group] = of_values[group];
  for (int group = 0; group < kSumGroups; ++group) square[group] = of_squares[group];
}

/// Sums of all channels over the voxels [from, to), in their order.
template <typename Kernel>
MEDGEN_KERNEL void sum_voxels(const Kernel& kernel, std::int64_t from, std::int64_t to, double* sums, double* squares) {
  const std::int64_t channels = kernel.x.channels;
  std::int64_t first = 0;
  if constexpr (requires { sum_lanes(kernel, from, to, first, sums, squares); }) {
    for (; first + kSumChannels <= channels; first += kSumChannels) sum_lanes(kernel, from, to, first, sums, squares);
  }
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
#pragma GCC ivdep
    for (std::int64_t channel = first; channel < channels; ++channel) {
      kernel(voxel, channel, sums + channel, squares + channel);
    }
  }
}

/// A plane is one task, whatever the threads: its sums are formed in one order.
template <typename Kernel>
MEDGEN_KERNEL void each_plane(const Kernel& kernel, std::int64_t from, std::int64_t to) {
  const std::int64_t channels = kernel.x.channels;
  const std::int64_t voxels = kernel.x.voxels_per_plane();
  for (std::int64_t plane = from; plane < to; ++plane) {
    const std::int64_t end = (plane + 1) * voxels;
    for (std::int64_t voxel = plane * voxels; voxel < end; voxel += kSumVoxels) {
      sum_voxels(kernel, voxel, std::min(voxel + kSumVoxels, end), kernel.sums + plane * channels,
                 kernel.squares + plane * channels);
    }
  }
}

// Clones are made of functions, not of templates.
#define MEDGEN_LINE_LOOP(...)                                                             \
  MEDGEN_CLONES void run(const __VA_ARGS__& kernel, std::int64_t from, std::int64_t to) { \
    each_line(kernel, from, to);                                                          \
  }
#define MEDGEN_ELEMENT_LOOP(...)                                                          \
  MEDGEN_CLONES void run(const __VA_ARGS__& kernel, std::int64_t from, std::int64_t to) { \
    each_element(kernel, from, to);                                                       \
  }
#define MEDGEN_SUM_LOOP(...)                                                              \
  MEDGEN_CLONES void run(const __VA_ARGS__& kernel, std::int64_t from, std::int64_t to) { \
    each_plane(kernel, from, to);                                                         \
  }
MEDGEN_EACH_LINE_KERNEL(MEDGEN_LINE_LOOP)
MEDGEN_EACH_ELEMENT_KERNEL(MEDGEN_ELEMENT_LOOP)
MEDGEN_EACH_SUM(MEDGEN_SUM_LOOP)

struct Work {
  std::int64_t n;
  std::int64_t grain;
};

template <typename Kernel>
Work work_of(const Kernel& kernel) {
  if constexpr (requires { kernel.sums; }) {
    return {kernel.x.planes, 1};
  } else if constexpr (requires { kernel.lines(); }) {
    return {kernel.lines(), std::max<std::int64_t>(1, kElementsPerTask / std::max<std::int64_t>(kernel.length(), 1))};
  } else {
    return {kernel.size(), kElementsPerTask / 2};
  }
}

}  // namespace

template <typename On, typename Kernel>
void launch(const On& cpu, const Kernel& kernel) {
  const auto [n, grain] = work_of(kernel);
  if (cpu.parallel == nullptr) return run(kernel, 0, n);
  const auto part = [](const void* of, std::int64_t from, std::int64_t to) {
    run(*static_cast<const Kernel*>(of), from, to);
  };
  cpu.parallel(cpu.threads, n, grain, part, &kernel);
}

#define MEDGEN_INSTANTIATE(...) template void launch(const Cpu&, const __VA_ARGS__&);
MEDGEN_EACH_SUM(MEDGEN_INSTANTIATE)
MEDGEN_EACH_LINE_KERNEL(MEDGEN_INSTANTIATE)
MEDGEN_EACH_ELEMENT_KERNEL(MEDGEN_INSTANTIATE)

}  // namespace medgen::kernels
