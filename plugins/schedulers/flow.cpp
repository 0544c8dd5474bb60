// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/flow.h"

#include "plugins/schedulers/rounding.h"

#include <algorithm>
#include <cmath>

namespace medgen::schedulers {

Flow::Flow(const Config& config, bool exact)
    : train_steps_(config.integer("num_train_timesteps", 1000, 1, 60000)),
      discrete_(config.flag("use_discrete_timesteps", true)),
      logit_normal_(config.choice("sample_method", 0, {"uniform", "logit-normal"}) == 1),
      loc_(config.number("loc", 0.0)),
      scale_(config.number("scale", 1.0, 0.0)),
      transformed_(config.flag("use_timestep_transform", false)),
      steps_offset_(config.integer("steps_offset", 0, 0, 1000)),
      base_size_(config.number("base_img_size_numel", 32768, 1)),
      spatial_dim_(config.integer("spatial_dim", 3, 1, 4)),
      exact_(exact) {}

double Flow::transform(double t, const sdk::ScheduleRequest& request) const {
  if (!transformed_) return t;
  if (request.shape.size() < 2) {
    throw sdk::invalid("use_timestep_transform needs the latent's shape (channels, then spatial axes), got ",
                       request.shape.size(), " axes");
  }
  double size = 1;
  for (const std::int64_t axis : request.shape.subspan(1)) size *= static_cast<double>(axis);
  if (!(size >= 1)) throw sdk::invalid("the latent has no elements");
  const double ratio = std::pow(size / base_size_, 1.0 / spatial_dim_);
  const double fraction = t / train_steps_;
  return ratio * fraction / (1 + (ratio - 1) * fraction) * train_steps_;
}

std::vector<double> Flow::spaced_times(const sdk::ScheduleRequest& request) const {
  if (!(request.start > 0 && request.start <= 1)) {
    throw sdk::invalid("start is ", request.start, ", expected above 0 and at most 1");
  }
  const double first = request.start * train_steps_;
  if (request.steps < 1 || request.steps > static_cast<std::uint32_t>(train_steps_)) {
    throw sdk::invalid(request.steps, " steps were asked for, from 1 to ", train_steps_, " are possible");
  }
  std::vector<double> times;
  for (std::uint32_t i = 0; i < request.steps; ++i) {
    double t = (1 - static_cast<double>(i) / request.steps) * first;
    if (discrete_) t = std::nearbyint(t);
    t = transform(t, request);
    if (!exact_) t = round_to_half(t);
    if (discrete_) t = exact_ ? std::nearbyint(t) : std::trunc(t);
    t += steps_offset_;
    if (!discrete_ && !exact_) t = round_to_half(t);
    times.push_back(t);
  }
  return times;
}

std::vector<double> Flow::times(const sdk::ScheduleRequest& request) const {
  if (request.timesteps.empty()) return check_times(spaced_times(request), !exact_);
  return check_times({request.timesteps.begin(), request.timesteps.end()}, false);
}

/// Released times are cut to integers, so that neighbours may be alike and the last ones 0: steps that change nothing.
std::vector<double> Flow::check_times(std::vector<double> times, bool released) const {
  for (std::size_t i = 0; i < times.size(); ++i) {
    const bool descends = i == 0 || times[i] < times[i - 1] || (released && times[i] == times[i - 1]);
    const bool above = times[i] > 0 || (released && i > 0 && times[i] == 0);
    if (!(above && times[i] <= train_steps_ + steps_offset_ && descends)) {
      throw sdk::invalid("timesteps must descend from at most ", train_steps_ + steps_offset_,
                         " and stay above 0; number ", i, " is ", times[i]);
    }
  }
  return times;
}

sdk::Level Flow::level(double t) const {
  if (!(t >= 0 && t <= train_steps_ + steps_offset_)) {
    throw sdk::invalid("time ", t, " is outside 0 to ", train_steps_ + steps_offset_);
  }
  const double noise = t / train_steps_;
  sdk::Level level = sdk::make_level(1 - noise, noise);
  level.target_x0 = 1;
  level.target_eps = -1;
  level.x0_x = 1;
  level.x0_m = noise;
  return level;
}

double Flow::training_time(const sdk::ScheduleRequest& request, double u) const {
  if (!(u >= 0 && u < 1)) throw sdk::invalid("u is ", u, ", expected from 0 up to, not including, 1");
  double fraction = u;
  if (logit_normal_) fraction = 1 / (1 + std::exp(-(loc_ + scale_ * normal_quantile(std::max(u, 0x1p-54)))));
  double t = fraction * train_steps_;
  if (discrete_) t = std::min(std::floor(t), train_steps_ - 1.0);
  return transform(t, request);
}

}  // namespace medgen::schedulers
