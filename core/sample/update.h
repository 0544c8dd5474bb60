// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/scheduler.h"

#include <array>

// Legend: x the current sample, m the denoiser's output, x0 the clean sample, eps the noise; all (N, C, spatial...)
// float32. Every function computes each element in double from the coefficients and rounds once, so results do not
// depend on batch, order or threads.

namespace medgen {

/// Tensors that earlier evaluations stored for later ones (multistep and two-stage methods).
using History = std::array<Tensor, MEDGEN_HISTORY>;

/// One update of the sampling process: the tensor form of medgen_update_t.
/// @param noise  standard normal, the shape of x; may be empty when the update uses none.
/// @param m      the shape of x, or 2C channels when the update has a learned range.
/// @throws PluginError when shapes disagree or a history slot is used before it was stored.
Tensor apply_update(const Update& update, const Tensor& x, const Tensor& m, const Tensor& noise, History& history);

/// alpha x0 + sigma eps
Tensor add_noise(const NoiseLevel& level, const Tensor& x0, const Tensor& eps);

/// What the denoiser should have said for this x0 and eps.
Tensor training_target(const NoiseLevel& level, const Tensor& x0, const Tensor& eps);

/// The clean sample that (x, m) implies; with 2C channels in m the first C count.
Tensor clean_estimate(const NoiseLevel& level, const Tensor& x, const Tensor& m);

/// Classifier-free guidance: u + scale (c - u). In 2C-channel outputs only the first half is guided, the rest comes
/// from c (SDM; methods with a learned variance).
Tensor guide(const Tensor& conditional, const Tensor& unconditional, double scale, std::int64_t channels);

}  // namespace medgen
