// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/scheduler.h"

#include <array>

// Legend: x the current sample, m the denoiser's output, x0 the clean sample, eps the noise; all (N, C, spatial...)
// float32. Every function computes each element in double from the coefficients and rounds once (kernels/update.h), so
// results do not depend on batch, order or threads. `threads`: 0 = as many as the machine has.

namespace medgen {

/// Tensors that earlier evaluations stored for later ones (multistep and two-stage methods).
using History = std::array<Tensor, MEDGEN_HISTORY>;

/// m: the denoiser's output, or under classifier-free guidance both of its outputs, m = u + scale (c - u). In
/// 2C-channel outputs only the first half is guided, the rest comes from c (SDM; methods with a learned variance).
struct Prediction {
  Prediction(Tensor m) : conditional(std::move(m)) {}  // NOLINT(google-explicit-constructor)

  Prediction(Tensor c, Tensor u, double guidance)
      : conditional(std::move(c)), unconditional(std::move(u)), scale(guidance) {}

  bool guided() const { return !unconditional.empty(); }

  Tensor conditional;
  Tensor unconditional;  ///< empty: not guided
  double scale = 1;
};

/// One update of the sampling process: the tensor form of medgen_update_t, guidance included, in one pass.
/// @param noise  standard normal, the shape of x; may be empty when the update uses none.
/// @param m      the shape of x, or 2C channels, as it must have when the update has a learned range.
/// @throws PluginError when shapes disagree or a history slot is used before it was stored.
Tensor apply_update(const Update& update, const Tensor& x, const Prediction& m, const Tensor& noise, History& history,
                    unsigned threads = 0);

/// alpha x0 + sigma eps
Tensor add_noise(const NoiseLevel& level, const Tensor& x0, const Tensor& eps, unsigned threads = 0);

/// What the denoiser should have said for this x0 and eps.
Tensor training_target(const NoiseLevel& level, const Tensor& x0, const Tensor& eps, unsigned threads = 0);

/// The clean sample that (x, m) implies; with 2C channels in m the first C count.
Tensor clean_estimate(const NoiseLevel& level, const Tensor& x, const Prediction& m, unsigned threads = 0);

}  // namespace medgen
