// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/ddim.h"

#include <algorithm>
#include <cmath>

namespace medgen::schedulers {

Ddim::Ddim(const Config& config)
    : process_(config),
      final_alpha_bar_(config.flag("set_alpha_to_one", true) ? 1.0 : process_.alpha_bar(0)),
      eta_(config.number("eta", 0.0, 0.0, 1.0)),
      use_clipped_model_output_(config.flag("use_clipped_model_output", false)) {}

Ddim::Run::Run(const Ddim& owner, std::vector<Stride> strides)
    : owner_(&owner), strides_(std::move(strides)), times_(times_of(strides_)) {}

Ddim::Run Ddim::begin(const sdk::ScheduleRequest& request) const {
  return {*this, process_.strides(request, [](int t, int stride) { return t - stride; })};
}

sdk::Update Ddim::update(const Stride& stride) const {
  const double bar = process_.alpha_bar(stride.t);
  const double next_bar = stride.next < 0 ? final_alpha_bar_ : process_.alpha_bar(stride.next);
  // A last time of 0 with set_alpha_to_one false stays where it is; rounding must not make its variance negative.
  const double variance = std::max((1 - next_bar) / (1 - bar) * (1 - bar / next_bar), 0.0);
  const double noise_scale = eta_ * std::sqrt(variance);
  const double direction = std::sqrt(std::max(1 - next_bar - noise_scale * noise_scale, 0.0));

  sdk::Update update = process_.update_at(stride.t);
  update.x0 = std::sqrt(next_bar);
  if (use_clipped_model_output_) {
    const double noise = std::sqrt(1 - bar);
    update.x = direction / noise;
    update.x0 -= direction * std::sqrt(bar) / noise;
  } else {
    const Estimate of = process_.estimate(stride.t);
    update.x = direction * of.eps_x;
    update.m = direction * of.eps_m;
  }
  if (noise_scale > 0) {
    update.flags |= MEDGEN_UPDATE_NOISE;
    update.noise_scale = noise_scale;
  }
  return update;
}

}  // namespace medgen::schedulers
