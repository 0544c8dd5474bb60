// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/schedulers/noise_table.h"

#include <medgen/sdk/scheduler.hpp>

#include <vector>

namespace medgen::schedulers {

/// What the denoiser predicts.
enum class Prediction { Epsilon, Sample, Velocity };

/// Where n of T training times are taken.
enum class Spacing {
  Linspace,  ///< evenly from T-1 to steps_offset, rounded half to even: MONAI 1.6, guided-diffusion
  Leading,   ///< multiples of floor(T/n) plus steps_offset: latent-diffusion, MONAI up to 1.5
  Trailing,  ///< T - iT/n - 1: both the noisiest time and none twice
};

/// What a sampler's configuration leaves open.
struct ProcessDefaults {
  Spacing spacing = Spacing::Linspace;
  bool clip = true;
};

/// The clamp of the clean estimate: `clip_sample`, `clip_sample_min`, `clip_sample_max`.
class Clip {
 public:
  Clip(const Config& config, bool by_default);

  void apply(sdk::Update& update) const;

 private:
  bool on_;
  double low_;
  double high_;
};

/// One evaluation: the time it is made at, and the time whose noise level the sample has afterwards.
struct Stride {
  int t = 0;
  int next = -1;  ///< -1: no noise is left
};

/// x0 = x0_x x + x0_m m, and the same for the noise.
struct Estimate {
  double x0_x, x0_m;
  double eps_x, eps_m;
};

/// The variance preserving process on T discrete times that all samplers of discrete times share: alpha_t =
/// sqrt(alpha-bar_t), sigma_t = sqrt(1 - alpha-bar_t). Immutable.
class Process {
 public:
  explicit Process(const Config& config, ProcessDefaults defaults = {});

  /// Signal and noise at t, which is an integer from 0 to T-1. @throws sdk::Error otherwise.
  sdk::Level level(double t) const;

  /// The evaluations of a run, noisiest first. `released_stride(t, times)` is the time after t that the released
  /// scheduler steps to; it is used unless `respaced` is set or the user gave the times. A start s < 1 takes the times
  /// from the first round(s T) ones.
  template <typename ReleasedNext>
  std::vector<Stride> strides(const sdk::ScheduleRequest& request, ReleasedNext released_next) const {
    const std::vector<int> times = this->times(request);
    const int reachable = reachable_times(request);
    std::vector<Stride> out;
    bool skewed = false;
    for (std::size_t i = 0; i < times.size(); ++i) {
      const int selected = i + 1 < times.size() ? times[i + 1] : -1;
      const int released = released_next(times[i], reachable / static_cast<int>(times.size()));
      const bool as_released = !respaced_ && request.timesteps.empty();
      skewed = skewed || (as_released && selected >= 0 && released != selected);
      out.push_back({times[i], as_released ? std::max(released, -1) : selected});
    }
    if (skewed) warn_skewed(times.size());
    return out;
  }

  /// The times of the evaluations: the user's own, or `steps` of them as `timestep_spacing` says.
  std::vector<int> times(const sdk::ScheduleRequest& request) const;

  /// T, or with a start s < 1 the first round(s T) times.
  int reachable_times(const sdk::ScheduleRequest& request) const;

  /// The share of signal left at time t; 1 for t = -1.
  double alpha_bar(int t) const { return t < 0 ? 1.0 : table_.alpha_bars[static_cast<std::size_t>(t)]; }

  double beta(int t) const { return table_.betas[static_cast<std::size_t>(t)]; }

  /// How clean sample and noise follow from x and the denoiser's output at time t.
  Estimate estimate(int t) const;

  /// An update at time t with everything that concerns the estimate of x0, and its clamp, filled in.
  sdk::Update update_at(int t) const;

  /// Uniform integer time for u in [0,1).
  double training_time(const sdk::ScheduleRequest& request, double u) const;

  Prediction prediction() const noexcept { return prediction_; }

  int train_steps() const noexcept { return table_.size(); }

  bool respaced() const noexcept { return respaced_; }

  static void warn_skewed(std::size_t steps);

 private:
  std::vector<int> spaced_times(int n, int reachable) const;
  int time_index(double t) const;

  NoiseTable table_;
  Prediction prediction_;
  Spacing spacing_;
  int steps_offset_;
  bool respaced_;
  Clip clip_;
};

/// The timesteps of the strides, as the interface wants them.
std::vector<double> times_of(const std::vector<Stride>& strides);

}  // namespace medgen::schedulers
