// SPDX-License-Identifier: Apache-2.0
// For tests: data whose denoiser and whose sampling process are known exactly, and the host's arithmetic in double.
#pragma once

#include <medgen/sdk/scheduler.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace medgen::schedulers {

/// One-dimensional data: a mixture of Gaussians of one width. With one component, a Gaussian.
struct KnownProblem {
  std::vector<double> weights;
  std::vector<double> means;
  double width;

  /// E[x0 | x], the best denoiser.
  double clean(const sdk::Level& level, double x) const {
    const double variance = variance_at(level);
    std::vector<double> logs;
    for (std::size_t j = 0; j < means.size(); ++j) {
      const double off = x - level.alpha * means[j];
      logs.push_back(std::log(weights[j]) - off * off / (2 * variance));
    }
    const double largest = *std::max_element(logs.begin(), logs.end());
    double total = 0;
    double sum = 0;
    for (std::size_t j = 0; j < means.size(); ++j) {
      const double share = std::exp(logs[j] - largest);
      total += share;
      sum += share * (means[j] + level.alpha * width * width / variance * (x - level.alpha * means[j]));
    }
    return sum / total;
  }

  /// What the network would say.
  double output(const sdk::Level& level, double x) const {
    const double x0 = clean(level, x);
    return level.target_x0 * x0 + level.target_eps * (x - level.alpha * x0) / level.sigma;
  }

  /// Where the deterministic process takes x from one level to another: in one dimension it keeps the order of all
  /// samples, and so the share of those below x.
  double flow(const sdk::Level& from, const sdk::Level& to, double x) const {
    const bool low = below(from, x) < 0.5;
    const double share = low ? below(from, x) : above(from, x);
    double left = -100;
    double right = 100;
    for (int i = 0; i < 100; ++i) {
      const double middle = (left + right) / 2;
      const bool before = low ? below(to, middle) < share : above(to, middle) > share;
      (before ? left : right) = middle;
    }
    return (left + right) / 2;
  }

  double variance_at(const sdk::Level& level) const {
    return level.alpha * level.alpha * width * width + level.sigma * level.sigma;
  }

 private:
  double below(const sdk::Level& level, double x) const { return tail(level, x, -1); }

  double above(const sdk::Level& level, double x) const { return tail(level, x, 1); }

  double tail(const sdk::Level& level, double x, double sign) const {
    const double deviation = std::sqrt(2 * variance_at(level));
    double sum = 0;
    for (std::size_t j = 0; j < means.size(); ++j) {
      sum += weights[j] / 2 * std::erfc(sign * (x - level.alpha * means[j]) / deviation);
    }
    return sum;
  }
};

/// The host's update of one number, in double.
class ScalarSampler {
 public:
  explicit ScalarSampler(double x) : x_(x) {}

  double x() const { return x_; }

  void apply(const sdk::Update& u, double m, double noise = 0) {
    double x0 = u.x0_x * x_ + u.x0_m * m;
    if ((u.flags & MEDGEN_UPDATE_CLAMP_X0) != 0) x0 = std::clamp(x0, u.clamp_low, u.clamp_high);
    double next = u.x * x_ + u.m * m + u.x0 * x0 + u.noise_scale * noise;
    for (std::size_t k = 0; k < history_.size(); ++k) {
      if (u.history[k] != 0) next += u.history[k] * history_[k];
    }
    store(u.keep_x, x_);
    store(u.keep_m, m);
    store(u.keep_x0, x0);
    x_ = next;
  }

  void set(double x) { x_ = x; }

 private:
  void store(std::int32_t slot, double value) {
    if (slot >= 0) history_.at(static_cast<std::size_t>(slot)) = value;
  }

  double x_;
  std::array<double, MEDGEN_HISTORY> history_{};
};

/// The first `evaluations` updates of a run from x. `noise(i)` is that of evaluation i.
template <typename Scheduler, typename Run, typename Noise>
double sample(const Scheduler& scheduler, const Run& run, const KnownProblem& problem, double x,
              std::size_t evaluations, Noise noise) {
  ScalarSampler sampler(x);
  for (std::size_t i = 0; i < evaluations; ++i) {
    const sdk::Level level = scheduler.level(run.timesteps()[i]);
    sampler.apply(run.update(i), problem.output(level, sampler.x()), noise(i));
  }
  return sampler.x();
}

template <typename Scheduler, typename Run>
double sample(const Scheduler& scheduler, const Run& run, const KnownProblem& problem, double x,
              std::size_t evaluations) {
  return sample(scheduler, run, problem, x, evaluations, [](std::size_t) { return 0.0; });
}

}  // namespace medgen::schedulers
