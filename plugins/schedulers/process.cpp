// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/process.h"

#include "plugins/schedulers/rounding.h"

#include <algorithm>
#include <cmath>

namespace medgen::schedulers {

Clip::Clip(const Config& config, bool by_default)
    : on_(config.flag("clip_sample", by_default)),
      low_(config.number("clip_sample_min", -1.0)),
      high_(config.number("clip_sample_max", 1.0)) {
  if (low_ > high_) throw sdk::invalid("clip_sample_min ", low_, " is above clip_sample_max ", high_);
}

void Clip::apply(sdk::Update& update) const {
  if (!on_) return;
  update.flags |= MEDGEN_UPDATE_CLAMP_X0;
  update.clamp_low = low_;
  update.clamp_high = high_;
}

Process::Process(const Config& config, ProcessDefaults defaults)
    : table_(make_noise_table(config)),
      prediction_(static_cast<Prediction>(config.choice("prediction_type", 0, {"epsilon", "sample", "v_prediction"}))),
      spacing_(static_cast<Spacing>(
          config.choice("timestep_spacing", static_cast<int>(defaults.spacing), {"linspace", "leading", "trailing"}))),
      steps_offset_(config.integer("steps_offset", 0, 0, table_.size() - 1)),
      respaced_(config.flag("respaced", false)),
      clip_(config, defaults.clip) {}

int Process::time_index(double t) const {
  if (!(t >= 0 && t <= table_.size() - 1) || t != std::floor(t)) {
    throw sdk::invalid("time ", t, " is no integer from 0 to ", table_.size() - 1);
  }
  return static_cast<int>(t);
}

sdk::Level Process::level(double t) const {
  const int index = time_index(t);
  const double signal = std::sqrt(alpha_bar(index));
  const double noise = std::sqrt(1 - alpha_bar(index));
  sdk::Level level = sdk::make_level(signal, noise);
  level.target_x0 = prediction_ == Prediction::Sample ? 1 : prediction_ == Prediction::Velocity ? -noise : 0;
  level.target_eps = prediction_ == Prediction::Epsilon ? 1 : prediction_ == Prediction::Velocity ? signal : 0;
  const Estimate of = estimate(index);
  level.x0_x = of.x0_x;
  level.x0_m = of.x0_m;
  return level;
}

Estimate Process::estimate(int t) const {
  const double signal = std::sqrt(alpha_bar(t));
  const double noise = std::sqrt(1 - alpha_bar(t));
  switch (prediction_) {
    case Prediction::Epsilon:
      return {1 / signal, -noise / signal, 0, 1};
    case Prediction::Sample:
      return {0, 1, 1 / noise, -signal / noise};
    case Prediction::Velocity:
      return {signal, -noise, noise, signal};
  }
  throw sdk::Error(MEDGEN_E_INTERNAL, "unknown prediction type");
}

sdk::Update Process::update_at(int t) const {
  sdk::Update update = sdk::make_update();
  const Estimate of = estimate(t);
  update.x0_x = of.x0_x;
  update.x0_m = of.x0_m;
  clip_.apply(update);
  return update;
}

double Process::training_time(const sdk::ScheduleRequest&, double u) const {
  if (!(u >= 0 && u < 1)) throw sdk::invalid("u is ", u, ", expected from 0 up to, not including, 1");
  return std::min(std::floor(u * table_.size()), table_.size() - 1.0);
}

int Process::reachable_times(const sdk::ScheduleRequest& request) const {
  if (!(request.start > 0 && request.start <= 1)) {
    throw sdk::invalid("start is ", request.start, ", expected above 0 and at most 1");
  }
  return std::max(1, static_cast<int>(std::lround(request.start * table_.size())));
}

std::vector<int> Process::times(const sdk::ScheduleRequest& request) const {
  if (!request.timesteps.empty()) {
    std::vector<int> times;
    for (const double t : request.timesteps) {
      times.push_back(time_index(t));
      if (times.size() > 1 && times.back() >= times[times.size() - 2]) {
        throw sdk::invalid("timesteps must descend, but ", times[times.size() - 2], " is followed by ", times.back());
      }
    }
    return times;
  }
  const int reachable = reachable_times(request);
  if (request.steps < 1 || request.steps > static_cast<std::uint32_t>(reachable)) {
    throw sdk::invalid(request.steps, " steps were asked for, from 1 to ", reachable, " are possible with ",
                       table_.size(), " training times and start ", request.start);
  }
  return spaced_times(static_cast<int>(request.steps), reachable);
}

std::vector<int> Process::spaced_times(int n, int reachable) const {
  std::vector<double> times(static_cast<std::size_t>(n));
  switch (spacing_) {
    // float32, as MONAI has it: times that end in one half round the same way.
    case Spacing::Linspace:
      times = linspace(reachable - 1 - steps_offset_, 0, n, Rounding{true});
      break;
    case Spacing::Leading:
      for (int i = 0; i < n; ++i) times[static_cast<std::size_t>(i)] = (n - 1 - i) * (reachable / n);
      break;
    case Spacing::Trailing:
      for (int i = 0; i < n; ++i)
        times[static_cast<std::size_t>(i)] = (n - i) * (static_cast<double>(reachable) / n) - 1;
      break;
  }
  std::vector<int> out;
  for (const double time : times) {
    const int t = static_cast<int>(std::nearbyint(time)) + (spacing_ == Spacing::Trailing ? 0 : steps_offset_);
    // Rounding may repeat a time, which only the released steps can live with.
    const bool repeats = !out.empty() && (respaced_ ? t >= out.back() : t > out.back());
    if (t < 0 || t >= reachable || repeats) {
      throw sdk::invalid(n, " steps do not fit between steps_offset ", steps_offset_, " and time ", reachable - 1);
    }
    out.push_back(t);
  }
  return out;
}

void Process::warn_skewed(std::size_t steps) {
  sdk::log(MEDGEN_LOG_WARN,
           sdk::text("with ", steps, " steps the released scheduler steps to other noise levels than those ",
                     "it evaluates next; set \"respaced\": true for the corrected steps"));
}

std::vector<double> times_of(const std::vector<Stride>& strides) {
  std::vector<double> times;
  for (const Stride& stride : strides) times.push_back(stride.t);
  return times;
}

}  // namespace medgen::schedulers
