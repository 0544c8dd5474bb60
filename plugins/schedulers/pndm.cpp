// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/pndm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

namespace medgen::schedulers {
namespace {

/// Slots of the history: where a step of several evaluations begins, noises of the steps before, and those of a step's
/// second and third evaluation.
constexpr int kSample = 0;
constexpr std::array<int, 3> kPast{1, 2, 3};
constexpr int kSecond = 4;
constexpr int kThird = 5;

/// The means over [times[0], next] of the polynomials that are 1 at one of `times` and 0 at the others: the weights of
/// the Adams-Bashforth method, 3/2, -1/2 for two equal steps. Gauss' rule with two points is exact up to cubics.
std::vector<double> adams_bashforth(const std::vector<double>& times, double next) {
  const double middle = (times[0] + next) / 2;
  const double reach = (next - times[0]) / 2 / std::sqrt(3.0);
  std::vector<double> weights(times.size(), 0.0);
  for (const double point : {middle - reach, middle + reach}) {
    for (std::size_t k = 0; k < times.size(); ++k) {
      double polynomial = 0.5;
      for (std::size_t other = 0; other < times.size(); ++other) {
        if (other != k) polynomial *= (point - times[other]) / (times[k] - times[other]);
      }
      weights[k] += polynomial;
    }
  }
  return weights;
}

}  // namespace

/// One evaluation, and the transfer after it: from one noise level to another, along a mix of noises.
struct Pndm::Stage {
  int t = 0;
  int from = 0;
  int to = 0;
  double weight = 1;                          ///< of this evaluation's noise
  std::array<double, MEDGEN_HISTORY> kept{};  ///< weights of those kept
  int keep = -1;                              ///< slot for this evaluation's noise
  bool keep_sample = false;
  bool from_kept_sample = false;
  bool completes = true;
};

/// The stages of a run, and which noises of the past it still has.
class Pndm::Plan {
 public:
  explicit Plan(bool even) : even_(even) {}

  /// Runge-Kutta from t over the middle to the next time. `first` and `third` are where the released scheduler goes
  /// after the first and third evaluation; they should be the middle and the next time.
  void runge_kutta(int t, int middle, int next, int first, int third) {
    Stage stage{.t = t, .from = t, .to = first, .keep_sample = true, .completes = false};
    stage.keep = remember(t);
    const auto start = static_cast<std::size_t>(stage.keep);
    stages_.push_back(stage);
    const auto from_start = [&](int at, int to) {
      return Stage{.t = at, .from = t, .to = to, .from_kept_sample = true};
    };
    stage = from_start(middle, middle);
    stage.keep = kSecond;
    stage.completes = false;
    stages_.push_back(stage);
    stage = from_start(middle, third);
    stage.keep = kThird;
    stage.completes = false;
    stages_.push_back(stage);
    stage = from_start(next, next);
    stage.weight = 1.0 / 6;
    stage.kept[start] = 1.0 / 6;
    stage.kept[kSecond] = stage.kept[kThird] = 1.0 / 3;
    stages_.push_back(stage);
  }

  /// Adams-Bashforth with up to four noises.
  void multistep(int t, int to) {
    std::vector<double> times{even_ ? 0.0 : t};
    for (const Noise& noise : past_) times.push_back(even_ ? static_cast<double>(times.size()) : noise.t);
    const std::vector<double> weights = adams_bashforth(times, even_ ? -1 : to);
    Stage stage{.t = t, .from = t, .to = to, .weight = weights[0]};
    for (std::size_t k = 0; k < past_.size(); ++k) stage.kept[static_cast<std::size_t>(past_[k].slot)] = weights[k + 1];
    stage.keep = remember(t);
    stages_.push_back(stage);
  }

  /// The first step of the multistep method again, now with the noise at its end as well.
  void repeat_first(int t, int from, int to) {
    Stage& first = stages_.front();
    first.keep_sample = true;
    first.completes = false;
    Stage stage{.t = t, .from = from, .to = to, .weight = 0.5, .from_kept_sample = true};
    stage.kept[static_cast<std::size_t>(first.keep)] = 0.5;
    stages_.push_back(stage);
  }

  std::vector<Stage> take() { return std::move(stages_); }

 private:
  struct Noise {
    int t, slot;
  };

  /// The slot for the noise at t: the next in turn, which at most holds the noise forgotten now.
  int remember(int t) {
    const int slot = kPast[remembered_++ % kPast.size()];
    past_.push_front({t, slot});
    if (past_.size() > kPast.size()) past_.pop_back();
    return slot;
  }

  bool even_;
  std::size_t remembered_ = 0;
  std::deque<Noise> past_;  ///< newest first
  std::vector<Stage> stages_;
};

Pndm::Pndm(const Config& config)
    : process_(config, {Spacing::Leading, false}),
      final_alpha_bar_(config.flag("set_alpha_to_one", false) ? 1.0 : process_.alpha_bar(0)),
      skip_prk_steps_(config.flag("skip_prk_steps", false)) {}

PlannedRun Pndm::begin(const sdk::ScheduleRequest& request) const {
  const std::vector<int> times = process_.times(request);
  // Below four steps the released scheduler has no Runge-Kutta steps.
  const bool released = !process_.respaced() && request.timesteps.empty() && (skip_prk_steps_ || times.size() >= 4);
  if (released) Process::warn_skewed(times.size());
  PlannedRun run;
  for (const Stage& stage : released ? released_plan(times, process_.reachable_times(request)) : respaced_plan(times)) {
    run.add(stage.t, update(stage, released));
  }
  return run;
}

/// What MONAI 1.6 does. With Runge-Kutta steps it divides T by the number of evaluations, not of steps; without, the
/// second evaluation repeats the first step, so that all later ones see a sample one step noisier than they think.
std::vector<Pndm::Stage> Pndm::released_plan(const std::vector<int>& times, int reachable) const {
  const int n = static_cast<int>(times.size());
  const int middle = reachable / n / 2;
  const int stride = reachable / (skip_prk_steps_ ? n : n + 9);
  Plan plan(true);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const int t = times[i];
    if (!skip_prk_steps_ && i < 3) {
      const int next = times[i + 1];
      plan.runge_kutta(t, next + middle, next, t - stride / 2, next + middle - stride / 2);
    } else if (skip_prk_steps_ && i == 1) {
      plan.repeat_first(t, std::min(t + stride, process_.train_steps() - 1), t);
    } else {
      plan.multistep(t, t - stride);
    }
  }
  return plan.take();
}

/// Every transfer ends at the level that is evaluated next. The last one ends where nothing can be evaluated, so it is
/// a multistep one.
std::vector<Pndm::Stage> Pndm::respaced_plan(const std::vector<int>& times) const {
  Plan plan(false);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const bool last = i + 1 == times.size();
    const int next = last ? -1 : times[i + 1];
    if (!skip_prk_steps_ && i < 3 && !last) {
      const int middle = (times[i] + next) / 2;
      plan.runge_kutta(times[i], middle, next, middle, next);
      continue;
    }
    plan.multistep(times[i], next);
    if (skip_prk_steps_ && i == 0 && !last) plan.repeat_first(next, times[i], next);
  }
  return plan.take();
}

/// The method mixes noises, so where the interface speaks of x0, here stands the noise. For a velocity the released
/// scheduler mixes the velocities, and takes the noise from the mix and the sample at the start of the step.
sdk::Update Pndm::update(const Stage& stage, bool released) const {
  const bool mixes_outputs = released && process_.prediction() == Prediction::Velocity;
  const Estimate of = process_.estimate(stage.t);
  const Estimate start = mixes_outputs ? process_.estimate(stage.from) : Estimate{0, 0, 0, 1};
  const double kept_signal = std::sqrt(alpha_bar(stage.to) / process_.alpha_bar(stage.from));
  const double direction =
      std::sqrt(1 - alpha_bar(stage.to)) - kept_signal * std::sqrt(1 - process_.alpha_bar(stage.from));

  sdk::Update update = sdk::make_update();
  update.x0_x = mixes_outputs ? 0 : of.eps_x;
  update.x0_m = mixes_outputs ? 1 : of.eps_m;
  update.x0 = direction * start.eps_m * stage.weight;
  for (std::size_t k = 0; k < stage.kept.size(); ++k) update.history[k] = direction * start.eps_m * stage.kept[k];
  (stage.from_kept_sample ? update.history[kSample] : update.x) = kept_signal + direction * start.eps_x;
  update.keep_x0 = stage.keep;
  update.keep_x = stage.keep_sample ? kSample : -1;
  update.completes_step = stage.completes ? 1 : 0;
  return update;
}

}  // namespace medgen::schedulers
