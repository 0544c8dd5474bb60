// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/config.h"

#include <medgen/sdk/scheduler.hpp>

#include <vector>

namespace medgen::schedulers {

/// The path of rectified flow: x_t = (1 - t/T) x0 + (t/T) eps, on which the denoiser predicts v = x0 - eps. Immutable.
/// Source: Liu et al. 2023; the shift of times with the latent's size: Esser et al. 2024, section 5.3.2, and MONAI.
class Flow {
 public:
  /// @param exact  times are not rounded to half precision, as the released scheduler's are.
  Flow(const Config& config, bool exact);

  /// The times of the evaluations, noisiest first: the user's own as they are, or `steps` equal ones, shifted.
  std::vector<double> times(const sdk::ScheduleRequest& request) const;

  /// t from 0 to T + steps_offset.
  sdk::Level level(double t) const;

  double training_time(const sdk::ScheduleRequest& request, double u) const;

  int train_steps() const noexcept { return train_steps_; }

 private:
  std::vector<double> spaced_times(const sdk::ScheduleRequest& request) const;
  /// @param may_repeat  rounding may repeat a time, as in the released scheduler
  std::vector<double> check_times(std::vector<double> times, bool released) const;
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
  bool exact_;
};

}  // namespace medgen::schedulers
