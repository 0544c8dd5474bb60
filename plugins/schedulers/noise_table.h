// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/config.h"

#include <vector>

namespace medgen::schedulers {

/// beta_t and alpha-bar_t = prod_{s <= t} (1 - beta_s) for t = 0 .. T-1.
struct NoiseTable {
  std::vector<double> betas;
  std::vector<double> alpha_bars;

  int size() const noexcept { return static_cast<int>(betas.size()); }
};

/// The table of `schedule`, `num_train_timesteps`, `beta_start`, `beta_end`, `sigmoid_range` and `cosine_offset`. With
/// `table_dtype` "float32" (the default) every step is rounded where MONAI rounds it, so the values are MONAI's bits
/// for the linear schedules; "float64" rounds nothing (guided-diffusion, latent-diffusion).
/// @throws sdk::Error for values out of range or betas outside (0, 1).
NoiseTable make_noise_table(const Config& config);

}  // namespace medgen::schedulers
