// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/rflow.h"

#include <cmath>

namespace medgen::schedulers {
namespace {

/// Slots of the history: where a step of Heun's method begins.
constexpr int kSample = 0;
constexpr int kVelocity = 1;

}  // namespace

Rflow::Rflow(const Config& config)
    : heun_(config.choice("solver", 0, {"euler", "heun"}) == 1),
      exact_dt_(heun_ || config.flag("exact_dt", false)),
      flow_(config, exact_dt_) {}

PlannedRun Rflow::begin(const sdk::ScheduleRequest& request) const {
  const std::vector<double> times = flow_.times(request);
  const bool exact = exact_dt_ || !request.timesteps.empty();
  PlannedRun run;
  for (std::size_t i = 0; i < times.size(); ++i) {
    const bool last = i + 1 == times.size();
    const double next = last ? 0 : exact ? times[i + 1] : std::trunc(times[i + 1]);
    sdk::Update update = euler(times[i], next);
    // The last step stays Euler's: at time 0 there is nothing left to evaluate.
    const bool corrected = heun_ && !last;
    if (corrected) {
      update.keep_x = kSample;
      update.keep_m = kVelocity;
      update.completes_step = 0;
    }
    run.add(times[i], update);
    if (corrected) run.add(next, corrector(times[i], next));
  }
  return run;
}

sdk::Update Rflow::euler(double t, double next) const {
  sdk::Update update = sdk::make_update();
  update.x0_x = 1;
  update.x0_m = t / flow_.train_steps();
  update.x = 1;
  update.m = (t - next) / flow_.train_steps();
  return update;
}

/// From t again, along the mean of the velocities at t and, now known, at `next`.
sdk::Update Rflow::corrector(double t, double next) const {
  const double half = (t - next) / flow_.train_steps() / 2;
  sdk::Update update = sdk::make_update();
  update.x0_x = 1;
  update.x0_m = next / flow_.train_steps();
  update.m = half;
  update.history[kSample] = 1;
  update.history[kVelocity] = half;
  return update;
}

}  // namespace medgen::schedulers
