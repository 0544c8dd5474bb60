// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/path.h"
#include "plugins/schedulers/planned_run.h"
#include "plugins/schedulers/schemas.h"

namespace medgen::schedulers {

/// UniPC: a multistep predictor and a corrector that uses the evaluation of the next step, so that one evaluation a
/// step is enough. Predicts x0. Source: Zhao et al. 2023 (arXiv 2302.04867), section 3 and Algorithms 7 and 8.
class UniPc {
 public:
  static constexpr std::string_view id = "scheduler.unipc";
  static constexpr std::string_view summary =
      "UniPC: predictor and corrector, for discrete processes and rectified flow.";
  static constexpr std::string_view config_schema = kUniPcSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  explicit UniPc(const Config& config);

  explicit UniPc(const sdk::Create& create) : UniPc(Config(create.config())) {}

  PlannedRun begin(const sdk::ScheduleRequest& request) const;

  sdk::Level level(double t) const { return path_.level(t); }

  double training_time(const sdk::ScheduleRequest& request, double u) const { return path_.training_time(request, u); }

 private:
  struct Step;

  int step_order(const std::vector<Node>& nodes, std::size_t i) const;
  Step solve(const Node& from, const Node& to, const std::vector<double>& places) const;
  Step predictor(const std::vector<Node>& nodes, std::size_t i) const;
  std::vector<double> correction(const std::vector<Node>& nodes, std::size_t i) const;

  Path path_;
  int order_;
  bool bh2_;
};

}  // namespace medgen::schedulers
