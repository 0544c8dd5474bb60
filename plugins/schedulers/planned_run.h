// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/sdk/scheduler.hpp>

#include <span>
#include <vector>

namespace medgen::schedulers {

/// A run whose updates are all worked out when it begins.
class PlannedRun {
 public:
  void add(double t, const sdk::Update& update) {
    times_.push_back(t);
    updates_.push_back(update);
  }

  std::span<const double> timesteps() const { return times_; }

  sdk::Update update(std::size_t i) const { return updates_[i]; }

 private:
  std::vector<double> times_;
  std::vector<sdk::Update> updates_;
};

}  // namespace medgen::schedulers
