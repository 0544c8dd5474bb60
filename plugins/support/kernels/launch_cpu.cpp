// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/kernels/group_norm.h"
#include "plugins/support/kernels/launch.h"
#include "plugins/support/kernels/upsample.h"

#include <ATen/Parallel.h>

#include <algorithm>

// The loops below are compiled for several instruction sets, and the loader takes the best. Multiply and add are never
// fused (-ffp-contract=off), so all give the same bits.
#define MEDGEN_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))

namespace medgen::kernels {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 15;

/// Calls body(from, to) for parts of [0, voxels) of about kElementsPerTask elements.
template <typename Body>
void over_voxels(std::int64_t voxels, std::int64_t channels, const Body& body) {
  at::parallel_for(0, voxels, std::max<std::int64_t>(1, kElementsPerTask / channels), body);
}

template <typename Kernel>
MEDGEN_HD void each_channel(const Kernel& kernel, std::int64_t from, std::int64_t to) {
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
#pragma GCC ivdep
    for (std::int64_t channel = 0; channel < kernel.channels; ++channel) kernel(voxel, channel);
  }
}

MEDGEN_CLONES void run(const Normalize<float, true>& kernel, std::int64_t from, std::int64_t to) {
  each_channel(kernel, from, to);
}

MEDGEN_CLONES void run(const Normalize<float, false>& kernel, std::int64_t from, std::int64_t to) {
  each_channel(kernel, from, to);
}

MEDGEN_CLONES void run(const Normalize<Bf16, true>& kernel, std::int64_t from, std::int64_t to) {
  each_channel(kernel, from, to);
}

MEDGEN_CLONES void run(const Normalize<Bf16, false>& kernel, std::int64_t from, std::int64_t to) {
  each_channel(kernel, from, to);
}

template <typename T>
MEDGEN_HD void each_sum(const ChannelSums<T>& kernel, std::int64_t from, std::int64_t to, double* sum,
                        double* squares) {
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
#pragma GCC ivdep
    for (std::int64_t channel = 0; channel < kernel.channels; ++channel) kernel(voxel, channel, sum, squares);
  }
}

MEDGEN_CLONES void run(const ChannelSums<float>& kernel, std::int64_t from, std::int64_t to, double* sum,
                       double* squares) {
  each_sum(kernel, from, to, sum, squares);
}

MEDGEN_CLONES void run(const ChannelSums<Bf16>& kernel, std::int64_t from, std::int64_t to, double* sum,
                       double* squares) {
  each_sum(kernel, from, to, sum, squares);
}

template <typename T>
MEDGEN_HD void each_row(const UpsampleLinear<T>& kernel, std::int64_t from, std::int64_t to) {
  const std::int64_t rows = 2 * kernel.x.rows;
  const std::int64_t columns = 2 * kernel.x.columns;
  for (std::int64_t row = from; row < to; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto corners = kernel.corners(row / rows, row % rows, column);
#pragma GCC ivdep
      for (std::int64_t channel = 0; channel < kernel.x.channels; ++channel) corners(channel);
    }
  }
}

MEDGEN_CLONES void run(const UpsampleLinear<float>& kernel, std::int64_t from, std::int64_t to) {
  each_row(kernel, from, to);
}

MEDGEN_CLONES void run(const UpsampleLinear<Bf16>& kernel, std::int64_t from, std::int64_t to) {
  each_row(kernel, from, to);
}

template <typename T>
void sums_of(const Planes<const T>& x, double* sums, double* squares) {
  // A plane is one task, whatever the threads: its sums are formed in one order.
  at::parallel_for(0, x.planes, 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t plane = from; plane < to; ++plane) {
      const std::int64_t first = plane * x.voxels_per_plane();
      run(ChannelSums<T>{x.data, x.channels}, first, first + x.voxels_per_plane(), sums + plane * x.channels,
          squares + plane * x.channels);
    }
  });
}

template <typename T>
void normalize_all(const Planes<const T>& x, const float* factor, const float* offset, bool with_silu, T* y) {
  over_voxels(x.voxels(), x.channels, [&](std::int64_t from, std::int64_t to) {
    if (with_silu) return run(Normalize<T, true>{x.data, y, factor, offset, x.channels}, from, to);
    run(Normalize<T, false>{x.data, y, factor, offset, x.channels}, from, to);
  });
}

template <typename T>
void upsample_all(const UpsampleLinear<T>& kernel, std::int64_t planes) {
  at::parallel_for(0, planes * 2 * kernel.x.rows, 1,
                   [&](std::int64_t from, std::int64_t to) { run(kernel, from, to); });
}

}  // namespace

void channel_sums(const Planes<const float>& x, double* sums, double* squares) {
  sums_of(x, sums, squares);
}

void channel_sums(const Planes<const Bf16>& x, double* sums, double* squares) {
  sums_of(x, sums, squares);
}

void normalize(const Planes<const float>& x, const float* factor, const float* offset, bool with_silu, float* y) {
  normalize_all(x, factor, offset, with_silu, y);
}

void normalize(const Planes<const Bf16>& x, const float* factor, const float* offset, bool with_silu, Bf16* y) {
  normalize_all(x, factor, offset, with_silu, y);
}

void upsample_linear(const Planes<const float>& x, std::int64_t first_plane, std::int64_t all_planes,
                     std::int64_t first_result, std::int64_t planes, float* y) {
  upsample_all(UpsampleLinear<float>{x, first_plane, all_planes, y, first_result}, planes);
}

void upsample_linear(const Planes<const Bf16>& x, std::int64_t first_plane, std::int64_t all_planes,
                     std::int64_t first_result, std::int64_t planes, Bf16* y) {
  upsample_all(UpsampleLinear<Bf16>{x, first_plane, all_planes, y, first_result}, planes);
}

}  // namespace medgen::kernels
