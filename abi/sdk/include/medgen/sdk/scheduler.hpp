// SPDX-License-Identifier: Apache-2.0
// Schedulers:
//
//   struct MyScheduler {
//     MyRun begin(const ScheduleRequest&);                        // a process with this many steps
//     Level level(double t) const;                                // signal and noise at time t
//     double training_time(const ScheduleRequest&, double u) const;  // optional: the time to train at
//   };
//   struct MyRun {
//     std::span<const double> timesteps() const;                  // of all evaluations; lives as long as the run
//     Update update(std::size_t i) const;                         // coefficients of evaluation i
//     Level level(double t) const;                                // optional, where it differs from the scheduler's
//   };
#pragma once

#include <medgen/abi/scheduler.h>
#include <medgen/sdk/component.hpp>

#include <span>

namespace medgen::sdk {

/// What a run is for; see medgen_schedule_request_t.
struct ScheduleRequest {
  std::uint32_t steps = 0;
  double start = 1.0;                   ///< 1 = from pure noise
  std::span<const std::int64_t> shape;  ///< one sample of the latent: channels, then spatial axes
  std::span<const double> timesteps;    ///< the user's own list, descending, or empty
};

using Update = medgen_update_t;
using Level = medgen_level_t;

/// An update that does nothing yet: all coefficients 0, nothing kept, completes its step.
constexpr Update make_update() noexcept {
  Update update{};
  update.struct_size = sizeof update;
  update.keep_x = update.keep_m = update.keep_x0 = -1;
  update.completes_step = 1;
  return update;
}

/// x_t = alpha x0 + sigma eps; the target and the estimate of x0 are left 0.
constexpr Level make_level(double alpha, double sigma) noexcept {
  Level level{};
  level.struct_size = sizeof level;
  level.alpha = alpha;
  level.sigma = sigma;
  return level;
}

namespace detail {

inline ScheduleRequest from_abi_request(const medgen_schedule_request_t& request) {
  return {request.steps,
          request.start,
          {request.shape, static_cast<std::size_t>(request.ndim)},
          {request.timesteps, static_cast<std::size_t>(request.timesteps == nullptr ? 0 : request.n_timesteps)}};
}

template <typename T>
struct SchedulerTable {
  using Run = std::remove_cvref_t<decltype(std::declval<T&>().begin(std::declval<const ScheduleRequest&>()))>;

  static medgen_status_t begin(medgen_obj_t* self, const medgen_schedule_request_t* request,
                               medgen_obj_t** run) noexcept {
    return guard<T>([&] { *run = handle(new Run(object<T>(self).begin(from_abi_request(*request)))); });
  }

  static void end(medgen_obj_t*, medgen_obj_t* run) noexcept { delete &object<Run>(run); }

  static medgen_status_t timesteps(medgen_obj_t*, medgen_obj_t* run, const double** t, std::uint64_t* n) noexcept {
    return guard<T>([&] {
      const std::span<const double> times = object<Run>(run).timesteps();
      *t = times.data();
      *n = times.size();
    });
  }

  static medgen_status_t update(medgen_obj_t*, medgen_obj_t* run, std::uint64_t i, medgen_update_t* out) noexcept {
    return guard<T>([&] {
      const std::size_t count = object<Run>(run).timesteps().size();
      if (i >= count) throw invalid("evaluation ", i, " was asked for, the run has ", count);
      write_struct(object<Run>(run).update(static_cast<std::size_t>(i)), out);
    });
  }

  static medgen_status_t level(medgen_obj_t* self, medgen_obj_t* run, double t, medgen_level_t* out) noexcept {
    return guard<T>([&] {
      if constexpr (requires(const Run& r) { r.level(t); }) {
        if (run != nullptr) return write_struct(object<Run>(run).level(t), out);
      }
      write_struct(object<T>(self).level(t), out);
    });
  }

  static medgen_status_t training_time(medgen_obj_t* self, const medgen_schedule_request_t* request, double u,
                                       double* t) noexcept {
    return guard<T>([&] { *t = object<T>(self).training_time(from_abi_request(*request), u); });
  }

  static constexpr medgen_scheduler_t make() {
    medgen_scheduler_t table{};
    table.struct_size = sizeof table;
    table.begin = &begin;
    table.end = &end;
    table.timesteps = &timesteps;
    table.update = &update;
    table.level = &level;
    if constexpr (requires { &T::training_time; }) table.training_time = &training_time;
    return table;
  }

  static constexpr medgen_scheduler_t value = make();
};

}  // namespace detail

template <typename T>
inline constexpr medgen_component_desc_t scheduler = detail::make_desc<T>(MEDGEN_SCHEDULER_1,
                                                                          &detail::SchedulerTable<T>::value);

}  // namespace medgen::sdk
