// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

#include <medgen/abi/scheduler.h>

#include <memory>
#include <vector>

namespace medgen {

using NoiseLevel = medgen_level_t;
using Update = medgen_update_t;

struct ScheduleRequest {
  int steps = 0;                  ///< updates the user asked for
  double start = 1.0;             ///< 1 = from pure noise, less = refinement
  Shape latent_shape;             ///< one sample: channels, then spatial axes
  std::vector<double> timesteps;  ///< the user's own list, or empty
};

/// One sampling process: where to evaluate the denoiser, and the coefficients of each update. Pure numbers.
class Schedule {
 public:
  virtual ~Schedule() = default;
  /// Times of all evaluations, as the denoiser wants them.
  virtual const std::vector<double>& timesteps() const = 0;
  virtual Update update(std::size_t evaluation) const = 0;
  virtual NoiseLevel level(double t) const = 0;
};

class Scheduler : public virtual Component {
 public:
  virtual std::unique_ptr<Schedule> begin(const ScheduleRequest& request) = 0;
  /// Signal and noise at time t; used by training and by add-noise.
  virtual NoiseLevel level(double t) = 0;
  /// The time to train at for u uniform in [0,1).
  virtual double training_time(const ScheduleRequest& request, double u) = 0;
};

}  // namespace medgen
