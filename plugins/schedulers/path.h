// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/flow.h"
#include "plugins/schedulers/process.h"

#include <cmath>
#include <variant>
#include <vector>

namespace medgen::schedulers {

/// A place on the way from noise to the clean sample: x = alpha x0 + sigma eps.
struct Node {
  double t = 0;
  sdk::Level level = {};

  double alpha() const { return level.alpha; }

  double sigma() const { return level.sigma; }

  /// lambda = log(alpha / sigma), half the logarithm of the signal-to-noise ratio: -infinity in pure noise, infinity
  /// without noise.
  double lambda() const { return std::log(level.alpha / level.sigma); }

  bool is_pure_noise() const { return !(level.alpha > 0); }

  bool is_clean() const { return !(level.sigma > 0); }
};

/// The way that a denoiser was trained on, for the solvers that need to know of it only signal, noise and the estimate
/// of x0. `prediction_type` "flow_prediction" is rectified flow (v = x0 - eps), the others are the discrete process.
class Path {
 public:
  explicit Path(const Config& config);

  /// Where a run evaluates, noisiest first; then, as the last one, the clean sample.
  std::vector<Node> nodes(const sdk::ScheduleRequest& request) const;

  /// An update at this place with everything that concerns the estimate of x0, and its clamp, filled in.
  sdk::Update update_at(const Node& node) const;

  sdk::Level level(double t) const;

  double training_time(const sdk::ScheduleRequest& request, double u) const;

 private:
  std::variant<Process, Flow> kind_;
  Clip clip_;
};

}  // namespace medgen::schedulers
