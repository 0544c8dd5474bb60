// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

#include <medgen/abi/scheduler.h>

namespace medgen::kernels {

/// Classifier-free guidance and one update of the sampling process in one pass: medgen_update_t applied to one sample.
/// Each element is computed in double from the coefficients and rounded once; the guided output is rounded before, as
/// if the denoiser had given it.
struct UpdateStep {
  medgen_update_t u;
  std::int64_t count;                    ///< of elements
  double guidance;                       ///< m = without + guidance (m - without), where `without` is given
  const float* x;                        ///< the current sample
  const float* m;                        ///< the denoiser's output
  const float* without;                  ///< its output without conditions, or null
  const float* variance;                 ///< the learned range, read when u asks for it
  const float* noise;                    ///< read when u asks for it
  const float* history[MEDGEN_HISTORY];  ///< read where the coefficient is not zero
  float* next;
  float* keep_m;   ///< the guided output, or null
  float* keep_x0;  ///< the clean sample, or null

  MEDGEN_KERNEL std::int64_t size() const { return count; }

  MEDGEN_KERNEL bool asks(std::uint32_t flag) const { return (u.flags & flag) != 0; }

  MEDGEN_KERNEL double output(std::int64_t i) const {
    const double with = m[i];
    if (without == nullptr) return with;
    const double none = without[i];
    return static_cast<double>(static_cast<float>(none + guidance * (with - none)));
  }

  MEDGEN_KERNEL double clean(double xi, double mi) const {
    const double x0 = u.x0_x * xi + u.x0_m * mi;
    if (!asks(MEDGEN_UPDATE_CLAMP_X0)) return x0;
    const double above = x0 < u.clamp_low ? u.clamp_low : x0;
    return above > u.clamp_high ? u.clamp_high : above;
  }

  MEDGEN_KERNEL double noise_factor(std::int64_t i) const {
    if (!asks(MEDGEN_UPDATE_LEARNED_RANGE)) return u.noise_scale;
    const double fraction = (static_cast<double>(variance[i]) + 1.0) / 2.0;
    return u.noise_scale * exponential(0.5 * (fraction * u.log_variance_max + (1.0 - fraction) * u.log_variance_min));
  }

  /// Elements [first, first + N): term by term, so that every loop is short and free of branches.
  template <int N>
  MEDGEN_KERNEL void run(std::int64_t first) const {
    double outputs[N] = {}, sum[N];
    for (int i = 0; i < N; ++i) outputs[i] = output(first + i);
    for (int i = 0; i < N; ++i) sum[i] = u.x * x[first + i] + u.m * outputs[i];
    if (u.x0 != 0.0) {
      for (int i = 0; i < N; ++i) sum[i] += u.x0 * clean(x[first + i], outputs[i]);
    }
    for (int k = 0; k < MEDGEN_HISTORY; ++k) {
      if (u.history[k] == 0.0) continue;
      for (int i = 0; i < N; ++i) sum[i] += u.history[k] * history[k][first + i];
    }
    if (asks(MEDGEN_UPDATE_NOISE)) {
      for (int i = 0; i < N; ++i) sum[i] += noise_factor(first + i) * noise[first + i];
    }
    for (int i = 0; i < N; ++i) next[first + i] = static_cast<float>(sum[i]);
    if (keep_m != nullptr) {
      for (int i = 0; i < N; ++i) keep_m[first + i] = static_cast<float>(outputs[i]);
    }
    if (keep_x0 != nullptr) {
      for (int i = 0; i < N; ++i) keep_x0[first + i] = static_cast<float>(clean(x[first + i], outputs[i]));
    }
  }
};

}  // namespace medgen::kernels
