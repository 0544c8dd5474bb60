// SPDX-License-Identifier: Apache-2.0
// The kernels of the way back on the CPU; as in launch.h, neither threads nor instruction sets change the results.
#pragma once

#include "kernels/planes.h"

namespace medgen::kernels {

/// What normalisation did to each channel, u = factor x + offset, and whether SiLU came after it; factor times center
/// is what was taken away.
struct ForwardNorm {
  const float* factor;
  const float* offset;
  const float* center;
  bool with_silu;
};

/// Adds each plane's channel sums of du and du (x - center): [plane][channel]. `dy` lies as x does.
void norm_gradient_sums(const Planes<const float>& x, const float* dy, const ForwardNorm& norm, double* sums,
                        double* moments);
void norm_gradient_sums(const Planes<const Bf16>& x, const Bf16* dy, const ForwardNorm& norm, double* sums,
                        double* moments);

/// dx = a du + b (x - center) + c, with a, b and c one after another, a float for each channel.
void norm_gradient(const Planes<const float>& x, const float* dy, const ForwardNorm& norm, const float* abc, float* dx);
void norm_gradient(const Planes<const Bf16>& x, const Bf16* dy, const ForwardNorm& norm, const float* abc, Bf16* dx);

/// One step of AdamW and of the average of the weights, in one pass over memory.
struct AdamStep {
  float scale;         ///< of the gradient
  float keep1, take1;  ///< beta1, 1 - beta1
  float keep2, take2;  ///< beta2, 1 - beta2
  float eps;
  float shrink;  ///< 1 - learning rate x weight decay
  float rate;    ///< learning rate / (1 - beta1^n)
  float root;    ///< 1 / sqrt(1 - beta2^n)
  float follow;  ///< 1 - decay of the average
};

/// `average` may be null.
void adam_step(const AdamStep& step, std::int64_t count, const float* gradient, float* value, float* m, float* v,
               float* average);

/// Sum of squares, in one order whatever the threads.
double sum_of_squares(const float* x, std::int64_t count);

}  // namespace medgen::kernels
