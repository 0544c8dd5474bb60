// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/ddpm.h"

#include <algorithm>
#include <cmath>

namespace medgen::schedulers {

Ddpm::Ddpm(const Config& config)
    : process_(config),
      variance_(
          static_cast<Variance>(config.choice("variance_type", 0, {"fixed_small", "fixed_large", "learned_range"}))) {}

Ddpm::Run::Run(const Ddpm& owner, std::vector<Stride> strides)
    : owner_(&owner), strides_(std::move(strides)), times_(times_of(strides_)) {}

Ddpm::Run Ddpm::begin(const sdk::ScheduleRequest& request) const {
  return {*this, process_.strides(request, [](int t, int) { return t - 1; })};
}

sdk::Update Ddpm::update(const Stride& stride) const {
  const double bar = process_.alpha_bar(stride.t);
  const double next_bar = process_.alpha_bar(stride.next);
  const bool neighbour = stride.next == stride.t - 1;
  const double beta = neighbour ? process_.beta(stride.t) : 1 - bar / next_bar;
  const double posterior = std::max(beta * (1 - next_bar) / (1 - bar), 1e-20);

  sdk::Update update = process_.update_at(stride.t);
  update.x0 = std::sqrt(next_bar) * beta / (1 - bar);
  update.x = std::sqrt(1 - beta) * (1 - next_bar) / (1 - bar);
  if (variance_ == Variance::LearnedRange) {
    update.flags |= MEDGEN_UPDATE_LEARNED_RANGE;
    update.log_variance_min = std::log(posterior);
    update.log_variance_max = std::log(beta);
  }
  if (stride.next >= 0) {
    update.flags |= MEDGEN_UPDATE_NOISE;
    if (variance_ == Variance::FixedSmall) update.noise_scale = std::sqrt(posterior);
    if (variance_ == Variance::FixedLarge) update.noise_scale = std::sqrt(beta);
  }
  return update;
}

}  // namespace medgen::schedulers
