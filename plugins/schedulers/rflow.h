// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/config.h"
#include "plugins/schedulers/schemas.h"

#include <medgen/sdk/scheduler.hpp>

#include <vector>

namespace medgen::schedulers {

/// Rectified flow with Euler steps: x_t = (1 - t/T) x0 + (t/T) eps, the denoiser predicts v = x0 - eps.
/// Source: Liu et al. 2023; the shift of times with the latent's size: Esser et al. 2024, section 5.3.2, and MONAI.
class Rflow {
 public:
  static constexpr std::string_view id = "scheduler.rflow";
  static constexpr std::string_view summary = "Rectified flow, Euler steps.";
  static constexpr std::string_view config_schema = kRflowSchema;
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  class Run {
   public:
    /// `next[i]` is the time evaluation i steps to.
    Run(int train_steps, std::vector<double> times, std::vector<double> next);

    std::span<const double> timesteps() const { return times_; }

    sdk::Update update(std::size_t i) const;

   private:
    int train_steps_;
    std::vector<double> times_;
    std::vector<double> next_;
  };

  explicit Rflow(const Config& config);

  explicit Rflow(const sdk::Create& create) : Rflow(Config(create.config())) {}

  /// The user's own times are taken as they are, with exact steps.
  Run begin(const sdk::ScheduleRequest& request) const;

  /// t from 0 to T + steps_offset.
  sdk::Level level(double t) const;

  double training_time(const sdk::ScheduleRequest& request, double u) const;

 private:
  std::vector<double> spaced_times(const sdk::ScheduleRequest& request) const;
  double transform(double t, const sdk::ScheduleRequest& request) const;

  int train_steps_;
  bool discrete_;
  bool logit_normal_;
  double loc_;
  double scale_;
  bool transformed_;
  int steps_offset_;
  double base_size_;
  int spatial_dim_;
  bool exact_dt_;
};

}  // namespace medgen::schedulers
