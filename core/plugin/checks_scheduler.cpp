// SPDX-License-Identifier: Apache-2.0
// What a scheduler promises, for any config. Symbols as in medgen/abi/scheduler.h.

#include "core/component/scheduler.h"
#include "core/plugin/check_run.h"
#include "core/plugin/plugin_component.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace medgen {
namespace {

constexpr std::array<int, 4> kSteps{1, 2, 7, 30};

ScheduleRequest request_of(int steps) {
  ScheduleRequest request;
  request.steps = steps;
  request.latent_shape = {4, 16, 16, 8};
  return request;
}

std::vector<Update> updates_of(const Schedule& schedule) {
  std::vector<Update> updates;
  for (std::size_t i = 0; i < schedule.timesteps().size(); ++i) updates.push_back(schedule.update(i));
  return updates;
}

bool same_bits(const std::vector<Update>& a, const std::vector<Update>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const Update& u, const Update& v) {
           return std::memcmp(&u, &v, sizeof u) == 0;
         });
}

/// The adapter already refuses numbers that are not finite and slots that do not exist.
void check_runs(Scheduler& scheduler) {
  for (const int steps : kSteps) {
    const auto schedule = scheduler.begin(request_of(steps));
    const auto updates = updates_of(*schedule);
    if (updates.back().completes_step != 1)
      throw CheckFailure("with {} steps the last evaluation completes no step", steps);
    std::uint32_t stored = 0;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      for (int slot = 0; slot < MEDGEN_HISTORY; ++slot) {
        if (updates[i].history[slot] != 0.0 && (stored >> slot & 1u) == 0) {
          throw CheckFailure("with {} steps evaluation {} uses history slot {} before it is stored", steps, i, slot);
        }
      }
      for (const std::int32_t slot : {updates[i].keep_x, updates[i].keep_m, updates[i].keep_x0}) {
        if (slot >= 0) stored |= 1u << slot;
      }
    }
  }
}

void check_order(Scheduler& scheduler) {
  const auto schedule = scheduler.begin(request_of(30));
  const auto& t = schedule->timesteps();
  if (!std::is_sorted(t.rbegin(), t.rend())) throw CheckFailure("times rise during sampling");
}

void check_independence(Scheduler& scheduler) {
  const auto first = scheduler.begin(request_of(7));
  const auto expected = updates_of(*first);
  const auto other = scheduler.begin(request_of(30));
  updates_of(*other);
  if (!same_bits(expected, updates_of(*first))) throw CheckFailure("a run changes when another one is begun");
  if (!same_bits(expected, updates_of(*scheduler.begin(request_of(7)))))
    throw CheckFailure("equal requests give other numbers");
}

/// x0_x (alpha x0 + sigma eps) + x0_m (target_x0 x0 + target_eps eps) = x0 for every x0 and eps.
void check_level(const NoiseLevel& level, double t) {
  const double x0 = level.x0_x * level.alpha + level.x0_m * level.target_x0;
  const double eps = level.x0_x * level.sigma + level.x0_m * level.target_eps;
  const double scale = 1.0 + std::abs(level.x0_x) * (std::abs(level.alpha) + std::abs(level.sigma)) +
                       std::abs(level.x0_m) * (std::abs(level.target_x0) + std::abs(level.target_eps));
  if (std::abs(x0 - 1.0) > 1e-9 * scale || std::abs(eps) > 1e-9 * scale) {
    throw CheckFailure("at t = {} a perfect output does not give x0 back: {} x0 + {} eps", t, x0, eps);
  }
  if (level.alpha < 0.0 || level.sigma < 0.0)
    throw CheckFailure("at t = {} alpha = {}, sigma = {}", t, level.alpha, level.sigma);
}

void check_levels(Scheduler& scheduler) {
  const auto schedule = scheduler.begin(request_of(30));
  for (const double t : schedule->timesteps()) {
    check_level(schedule->level(t), t);
    check_level(scheduler.level(t), t);
  }
}

void check_training_times(Scheduler& scheduler) {
  for (const double u : {0.0, 0.1, 0.5, 0.9, 0.999999}) {
    const double t = scheduler.training_time(request_of(30), u);
    check_level(scheduler.level(t), t);
  }
}

/// A run from part of the way is a run of fewer or smaller steps, not of none.
void check_refinement(Scheduler& scheduler) {
  const double first = scheduler.begin(request_of(30))->timesteps().front();
  ScheduleRequest request = request_of(30);
  request.start = 0.5;
  const auto schedule = scheduler.begin(request);
  if (schedule->timesteps().front() > first) throw CheckFailure("a run from half way starts earlier than a whole one");
  updates_of(*schedule);
}

/// Requests the host's adapter would never make.
void check_bad_requests(const PluginObject& object) {
  const auto& table = object.table<medgen_scheduler_t>();
  const std::array<std::int64_t, 4> shape{4, 16, 16, 8};
  medgen_schedule_request_t request{};
  request.struct_size = sizeof request;
  request.start = 1.0;
  request.shape = shape.data();
  request.ndim = shape.size();
  medgen_obj_t* run = nullptr;
  if (call_plugin("begin", table.begin, object.get(), &request, &run) == MEDGEN_OK) {
    call_plugin("end", table.end, object.get(), run);
    throw CheckFailure("a run of no steps is begun");
  }
  request.steps = 3;
  check_plugin_call("begin", table.begin, object.get(), &request, &run);
  medgen_update_t update{};
  update.struct_size = sizeof update;
  const medgen_status_t status =
      call_plugin("update", table.update, object.get(), run, std::uint64_t{1} << 40, &update);
  call_plugin("end", table.end, object.get(), run);
  if (status == MEDGEN_OK) throw CheckFailure("it gives an update for an evaluation far beyond the last");
}

}  // namespace

void check_scheduler(CheckRun& run, const CheckedComponent& component, const std::string& config) {
  std::shared_ptr<PluginObject> object;
  std::shared_ptr<Scheduler> scheduler;
  const bool made = run.check(component.named("is a scheduler"), [&] {
    object = std::make_shared<PluginObject>(component.session, component.info, config, nullptr);
    scheduler = std::dynamic_pointer_cast<Scheduler>(adapt(object));
    scheduler->begin(request_of(1));
  });
  if (!made) return;
  run.check(component.named("runs of any length are sound"), [&] { check_runs(*scheduler); });
  run.check(component.named("times fall"), [&] { check_order(*scheduler); });
  run.check(component.named("runs are independent and repeatable"), [&] { check_independence(*scheduler); });
  run.check(component.named("levels invert the training target"), [&] { check_levels(*scheduler); });
  run.check(component.named("training times have levels"), [&] { check_training_times(*scheduler); });
  run.check(component.named("a run can start part of the way"), [&] { check_refinement(*scheduler); });
  run.check(component.named("impossible requests are refused"), [&] { check_bad_requests(*object); });
}

}  // namespace medgen
