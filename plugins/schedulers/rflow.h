// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/flow.h"
#include "plugins/schedulers/planned_run.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// Rectified flow. `solver` "euler": one evaluation a step, by default with the released scheduler's rounded steps.
/// "heun": two, of second order, always exact: there is no released one. Source: Karras et al. 2022, Algorithm 1.
class Rflow {
 public:
  static constexpr std::string_view id = "scheduler.rflow";
  static constexpr std::string_view summary = "Rectified flow: Euler's or Heun's steps.";
  static constexpr std::string_view config_schema = kRflowSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  explicit Rflow(const Config& config);

  explicit Rflow(const sdk::Create& create) : Rflow(Config(create.config())) {}

  /// The user's own times are taken as they are, with exact steps.
  PlannedRun begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return flow_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const { return flow_.training_time(request, u); }

 private:
  sdk::Update euler(double t, double next) const;
  sdk::Update corrector(double t, double next) const;

  bool heun_;
  bool exact_dt_;
  Flow flow_;
};

}  // namespace medgen::schedulers
