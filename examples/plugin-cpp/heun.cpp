// SPDX-License-Identifier: Apache-2.0
// A scheduler in one file: rectified flow with Heun's method, two evaluations a step. A scheduler never touches a
// tensor; it says at which times the denoiser is evaluated, and gives the coefficients of what the host does with the
// result:
//
//   step from t to s, dt = (t - s) / T:  first evaluation, at t:   v1;  go on with x + dt v1, and keep x and v1
//                                        second evaluation, at s:  v2;  x + dt (v1 + v2) / 2, from what was kept
//
// The last step is Euler's, so that no evaluation is made at t = 0, where there is nothing left to do.
// Source: Karras et al. 2022, Algorithm 1, for the flow x_t = (1 - t/T) x0 + (t/T) eps and v = x0 - eps.
#include <medgen/sdk/sdk.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace sdk = medgen::sdk;

namespace {

constexpr double kTrainSteps = 1000;

/// Slots of the history: up to eight tensors that the host keeps for the run.
constexpr int kKeptX = 0;
constexpr int kKeptV = 1;

class HeunRun {
 public:
  /// `nodes`: the times of the steps, descending; the run ends at 0.
  explicit HeunRun(const std::vector<double>& nodes) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const bool last = i + 1 == nodes.size();
      const double next = last ? 0 : nodes[i + 1];
      times_.push_back(nodes[i]);
      updates_.push_back(last ? euler(nodes[i]) : predictor(nodes[i], next));
      if (last) break;
      times_.push_back(next);
      updates_.push_back(corrector(nodes[i], next));
    }
  }

  std::span<const double> timesteps() const { return times_; }

  sdk::Update update(std::size_t i) const { return updates_[i]; }

 private:
  static sdk::Update at(double t) {
    sdk::Update update = sdk::make_update();
    update.x0_x = 1;
    update.x0_m = t / kTrainSteps;
    return update;
  }

  static sdk::Update euler(double t) {
    sdk::Update update = at(t);
    update.x = 1;
    update.m = t / kTrainSteps;
    return update;
  }

  static sdk::Update predictor(double t, double next) {
    sdk::Update update = at(t);
    update.x = 1;
    update.m = (t - next) / kTrainSteps;
    update.keep_x = kKeptX;
    update.keep_m = kKeptV;
    update.completes_step = 0;
    return update;
  }

  static sdk::Update corrector(double t, double next) {
    sdk::Update update = at(next);
    const double half = (t - next) / kTrainSteps / 2;
    update.m = half;
    update.history[kKeptX] = 1;
    update.history[kKeptV] = half;
    return update;
  }

  std::vector<double> times_;
  std::vector<sdk::Update> updates_;
};

class Heun {
 public:
  static constexpr std::string_view id = "heun.rflow";
  static constexpr std::string_view summary = "Rectified flow with Heun's second order method.";
  static constexpr std::string_view config_schema =
      R"({"type": "object", "additionalProperties": false, "properties": {}})";
  static constexpr std::uint32_t flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE;

  explicit Heun(const sdk::Create&) {}

  HeunRun begin(const sdk::ScheduleRequest& request) const {
    std::vector<double> nodes(request.timesteps.begin(), request.timesteps.end());
    if (nodes.empty() && request.steps == 0) throw sdk::invalid("0 steps were asked for, at least 1 is needed");
    for (std::uint32_t i = 0; request.timesteps.empty() && i < request.steps; ++i) {
      nodes.push_back(request.start * kTrainSteps * (request.steps - i) / request.steps);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const double above = i == 0 ? kTrainSteps : nodes[i - 1];
      if (!(nodes[i] > 0 && nodes[i] <= above))
        throw sdk::invalid("time ", nodes[i], " does not descend from ", above, " to 0");
    }
    return HeunRun(nodes);
  }

  sdk::Level level(double t) const {
    if (!(t >= 0 && t <= kTrainSteps)) throw sdk::invalid("time ", t, " is outside 0 to ", kTrainSteps);
    sdk::Level level = sdk::make_level(1 - t / kTrainSteps, t / kTrainSteps);
    level.target_x0 = 1;
    level.target_eps = -1;
    level.x0_x = 1;
    level.x0_m = t / kTrainSteps;
    return level;
  }

  double training_time(const sdk::ScheduleRequest&, double u) const { return u * kTrainSteps; }
};

constexpr sdk::Plugin kPlugin{.id = "heun",
                              .version = "1.0.0",
                              .vendor = "medgen examples",
                              .license = "Apache-2.0",
                              .summary = "An example of a scheduler in C++."};

}  // namespace

MEDGEN_PLUGIN(kPlugin, sdk::scheduler<Heun>)
