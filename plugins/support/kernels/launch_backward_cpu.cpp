// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/kernels/group_norm_backward.h"
#include "plugins/support/kernels/launch_backward.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#define MEDGEN_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))

namespace medgen::kernels {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 15;
constexpr std::int64_t kVoxelsPerSum = 64;  // as many as float32 adds up without losing what matters

template <typename T, bool kSilu>
MEDGEN_KERNEL void add_sums(const NormGradientSums<T, kSilu>& kernel, std::int64_t from, std::int64_t to, float* sum,
                        float* moment) {
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
#pragma GCC ivdep
    for (std::int64_t channel = 0; channel < kernel.channels; ++channel) kernel(voxel, channel, sum, moment);
  }
}

template <typename T, bool kSilu>
MEDGEN_KERNEL void each_channel(const NormGradient<T, kSilu>& kernel, std::int64_t from, std::int64_t to) {
  for (std::int64_t voxel = from; voxel < to; ++voxel) {
#pragma GCC ivdep
    for (std::int64_t channel = 0; channel < kernel.channels; ++channel) kernel(voxel, channel);
  }
}

// target_clones does not go with templates.
#define MEDGEN_RUNS(T, SILU)                                                                                      \
  MEDGEN_CLONES void run(const NormGradientSums<T, SILU>& kernel, std::int64_t from, std::int64_t to, float* sum, \
                         float* moment) {                                                                         \
    add_sums(kernel, from, to, sum, moment);                                                                      \
  }                                                                                                               \
  MEDGEN_CLONES void run(const NormGradient<T, SILU>& kernel, std::int64_t from, std::int64_t to) {               \
    each_channel(kernel, from, to);                                                                               \
  }
MEDGEN_RUNS(float, true)
MEDGEN_RUNS(float, false)
MEDGEN_RUNS(Bf16, true)
MEDGEN_RUNS(Bf16, false)
#undef MEDGEN_RUNS

template <bool kSilu, typename T>
void sums_of(const Planes<const T>& x, const T* dy, const ForwardNorm& norm, double* sums, double* moments) {
  const NormGradientSums<T, kSilu> kernel{x.data, dy, norm.factor, norm.offset, norm.center, x.channels};
  const auto channels = static_cast<std::size_t>(x.channels);
  // A plane is one task, whatever the threads: its sums are formed in one order.
  at::parallel_for(0, x.planes, 1, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> part(2 * channels);
    for (std::int64_t plane = first; plane < last; ++plane) {
      const std::int64_t end = (plane + 1) * x.voxels_per_plane();
      for (std::int64_t from = plane * x.voxels_per_plane(); from < end; from += kVoxelsPerSum) {
        std::fill(part.begin(), part.end(), 0.0F);
        run(kernel, from, std::min(from + kVoxelsPerSum, end), part.data(), part.data() + channels);
        for (std::size_t c = 0; c < channels; ++c) {
          sums[static_cast<std::size_t>(plane) * channels + c] += part[c];
          moments[static_cast<std::size_t>(plane) * channels + c] += part[channels + c];
        }
      }
    }
  });
}

template <bool kSilu, typename T>
void gradient_of(const Planes<const T>& x, const T* dy, const ForwardNorm& norm, const float* abc, T* dx) {
  const float* b = abc + x.channels;
  const NormGradient<T, kSilu> kernel{x.data,      dy,  dx, norm.factor,    norm.offset,
                                      norm.center, abc, b,  b + x.channels, x.channels};
  at::parallel_for(0, x.voxels(), std::max<std::int64_t>(1, kElementsPerTask / x.channels),
                   [&](std::int64_t from, std::int64_t to) { run(kernel, from, to); });
}

MEDGEN_CLONES void adam_range(const AdamStep& s, std::int64_t count, const float* gradient, float* value, float* m,
                              float* v) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    const float g = s.scale * gradient[i];
    m[i] = s.keep1 * m[i] + s.take1 * g;
    v[i] = s.keep2 * v[i] + s.take2 * g * g;
    value[i] = s.shrink * value[i] - s.rate * m[i] / (std::sqrt(v[i]) * s.root + s.eps);
  }
}

MEDGEN_CLONES void follow_range(float follow, std::int64_t count, const float* value, float* average) {
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) average[i] += follow * (value[i] - average[i]);
}

constexpr std::int64_t kLanes = 16;

MEDGEN_CLONES double squares_range(const float* x, std::int64_t count) {
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma GCC ivdep
    for (std::int64_t k = 0; k < kLanes; ++k) lanes[k] += static_cast<double>(x[i + k]) * static_cast<double>(x[i + k]);
  }
  for (; i < count; ++i) lanes[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void norm_gradient_sums(const Planes<const float>& x, const float* dy, const ForwardNorm& norm, double* sums,
                        double* moments) {
  if (norm.with_silu) return sums_of<true>(x, dy, norm, sums, moments);
  sums_of<false>(x, dy, norm, sums, moments);
}

void norm_gradient_sums(const Planes<const Bf16>& x, const Bf16* dy, const ForwardNorm& norm, double* sums,
                        double* moments) {
  if (norm.with_silu) return sums_of<true>(x, dy, norm, sums, moments);
  sums_of<false>(x, dy, norm, sums, moments);
}

void norm_gradient(const Planes<const float>& x, const float* dy, const ForwardNorm& norm, const float* abc,
                   float* dx) {
  if (norm.with_silu) return gradient_of<true>(x, dy, norm, abc, dx);
  gradient_of<false>(x, dy, norm, abc, dx);
}

void norm_gradient(const Planes<const Bf16>& x, const Bf16* dy, const ForwardNorm& norm, const float* abc, Bf16* dx) {
  if (norm.with_silu) return gradient_of<true>(x, dy, norm, abc, dx);
  gradient_of<false>(x, dy, norm, abc, dx);
}

void adam_step(const AdamStep& step, std::int64_t count, const float* gradient, float* value, float* m, float* v,
               float* average) {
  at::parallel_for(0, count, kElementsPerTask, [&](std::int64_t from, std::int64_t to) {
    adam_range(step, to - from, gradient + from, value + from, m + from, v + from);
    if (average != nullptr) follow_range(step.follow, to - from, value + from, average + from);
  });
}

double sum_of_squares(const float* x, std::int64_t count) {
  const std::int64_t tasks = (count + kElementsPerTask - 1) / kElementsPerTask;
  std::vector<double> parts(static_cast<std::size_t>(tasks));
  at::parallel_for(0, tasks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) {
      const std::int64_t from = task * kElementsPerTask;
      parts[static_cast<std::size_t>(task)] = squares_range(x + from, std::min(kElementsPerTask, count - from));
    }
  });
  double sum = 0;
  for (const double part : parts) sum += part;
  return sum;
}

}  // namespace medgen::kernels
