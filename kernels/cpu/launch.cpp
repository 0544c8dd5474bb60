// SPDX-License-Identifier: Apache-2.0
#include "kernels/launch.h"

#include "kernels/all.h"
#include "kernels/cpu/clones.h"

#include <algorithm>

namespace medgen::kernels {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 15;
constexpr int kTogether = 32;  // elements of one step of an element kernel

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

/// A plane is one task, whatever the threads: its sums are formed in one order.
template <typename Kernel>
MEDGEN_KERNEL void each_plane(const Kernel& kernel, std::int64_t from, std::int64_t to) {
  const std::int64_t channels = kernel.x.channels;
  const std::int64_t voxels = kernel.x.voxels_per_plane();
  for (std::int64_t plane = from; plane < to; ++plane) {
    double* const sums = kernel.sums + plane * channels;
    double* const squares = kernel.squares + plane * channels;
    for (std::int64_t voxel = plane * voxels; voxel < (plane + 1) * voxels; ++voxel) {
#pragma GCC ivdep
      for (std::int64_t channel = 0; channel < channels; ++channel) {
        kernel(voxel, channel, sums + channel, squares + channel);
      }
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
