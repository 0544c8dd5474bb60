// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/path.h"
#include "plugins/schedulers/planned_run.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// DPM-Solver++: the linear part of the process is solved exactly, x0 is extrapolated in lambda. One evaluation a step:
/// the singlestep method takes two of the user's steps at once. Source: Lu et al. 2022 (arXiv 2211.01095), Eq. 9,
/// Algorithms 1 (2S) and 2 (2M), and the SDE solvers of its section 6.
class DpmSolver {
 public:
  static constexpr std::string_view id = "scheduler.dpm_solver";
  static constexpr std::string_view summary =
      "DPM-Solver++: 2M, 2S and SDE, for discrete processes and rectified flow.";
  static constexpr std::string_view config_schema = kDpmSolverSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  explicit DpmSolver(const Config& config);

  explicit DpmSolver(const sdk::Create& create) : DpmSolver(Config(create.config())) {}

  PlannedRun begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return path_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const { return path_.training_time(request, u); }

 private:
  struct Weights;

  Weights weights(const Node& from, const Node& to) const;
  sdk::Update first_order(const Node& from, const Node& to) const;
  sdk::Update multistep(const Node& before, const Node& from, const Node& to) const;
  sdk::Update singlestep(const Node& from, const Node& between, const Node& to) const;
  PlannedRun multistep_run(const std::vector<Node>& nodes) const;
  PlannedRun singlestep_run(const std::vector<Node>& nodes) const;

  Path path_;
  bool stochastic_;
  bool second_order_;
  bool heun_;
  bool singlestep_;
};

}  // namespace medgen::schedulers
