// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/planned_run.h"
#include "plugins/schedulers/process.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// Pseudo numerical methods: classical Runge-Kutta and Adams-Bashforth methods, in which the noise of a DDIM step is
/// mixed from several evaluations. By default with the released scheduler's steps, which miss the times evaluated next;
/// `respaced` corrects them. Source: Liu et al. 2022 (arXiv 2202.09778), Eq. 11 (the transfer), 12, 13 and Algorithm 2.
class Pndm {
 public:
  static constexpr std::string_view id = "scheduler.pndm";
  static constexpr std::string_view summary = "Pseudo numerical methods in fewer steps (PNDM, PLMS).";
  static constexpr std::string_view config_schema = kPndmSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  explicit Pndm(const Config& config);

  explicit Pndm(const sdk::Create& create) : Pndm(Config(create.config())) {}

  PlannedRun begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return process_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const {
    return process_.training_time(request, u);
  }

 private:
  struct Stage;
  class Plan;

  std::vector<Stage> released_plan(const std::vector<int>& times, int reachable) const;
  std::vector<Stage> respaced_plan(const std::vector<int>& times) const;
  sdk::Update update(const Stage& stage, bool released) const;

  double alpha_bar(int t) const { return t < 0 ? final_alpha_bar_ : process_.alpha_bar(t); }

  Process process_;
  double final_alpha_bar_;
  bool skip_prk_steps_;
};

}  // namespace medgen::schedulers
