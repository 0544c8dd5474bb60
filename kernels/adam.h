// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/numeric.h"

#include <cmath>

namespace medgen::kernels {

/// One step of AdamW (Loshchilov and Hutter 2019) and of the average of the weights, in one pass over memory.
struct AdamStep {
  float scale;         ///< of the gradient
  float keep1, take1;  ///< beta1, 1 - beta1
  float keep2, take2;  ///< beta2, 1 - beta2
  float eps;
  float shrink;  ///< 1 - learning rate x weight decay
  float rate;    ///< learning rate / (1 - beta1^n)
  float root;    ///< 1 / sqrt(1 - beta2^n)
  float follow;  ///< 1 - decay of the average
  std::int64_t count;
  const float* gradient;
  float* value;
  float* m;
  float* v;
  float* average;  ///< or null

  MEDGEN_KERNEL std::int64_t size() const { return count; }

  template <int N>
  MEDGEN_KERNEL void run(std::int64_t first) const {
    for (int i = 0; i < N; ++i) {
      const float g = scale * gradient[first + i];
      const float mean = keep1 * m[first + i] + take1 * g;
      const float square = keep2 * v[first + i] + take2 * g * g;
      m[first + i] = mean;
      v[first + i] = square;
      value[first + i] = shrink * value[first + i] - rate * mean / (std::sqrt(square) * root + eps);
    }
    if (average == nullptr) return;
    for (int i = 0; i < N; ++i) average[first + i] += follow * (value[first + i] - average[first + i]);
  }
};

}  // namespace medgen::kernels
