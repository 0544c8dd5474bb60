// SPDX-License-Identifier: Apache-2.0
#include "plugins/schedulers/dpm_solver.h"

#include <cmath>

namespace medgen::schedulers {
namespace {

/// Slots of the history.
constexpr int kEstimate = 0;  ///< x0 of the evaluation before
constexpr int kSample = 1;    ///< where a singlestep pair begins

/// How much x0 changes over a step, per difference between two places.
double slope_ratio(const Node& from, const Node& to, const Node& a, const Node& b) {
  return (to.lambda() - from.lambda()) / (b.lambda() - a.lambda());
}

}  // namespace

/// next = x x + estimate x0 + slope (change of x0 over the step) + noise eps
struct DpmSolver::Weights {
  double x, estimate, slope, noise;
};

DpmSolver::DpmSolver(const Config& config)
    : path_(config),
      stochastic_(config.choice("algorithm_type", 0, {"dpmsolver++", "sde-dpmsolver++"}) == 1),
      second_order_(config.integer("solver_order", 2, 1, 2) == 2),
      heun_(config.choice("solver_type", 0, {"midpoint", "heun"}) == 1),
      singlestep_(config.choice("method", 0, {"multistep", "singlestep"}) == 1) {
  if (singlestep_ && stochastic_) throw sdk::invalid("method singlestep has no sde-dpmsolver++; use multistep");
}

/// Everything here stays finite from pure noise (h infinite, nothing of x0's past known) and to the clean sample.
DpmSolver::Weights DpmSolver::weights(const Node& from, const Node& to) const {
  const double h = to.lambda() - from.lambda();
  const double decay = stochastic_ ? 2 * h : h;
  Weights w{};
  w.x = to.sigma() / from.sigma() * (stochastic_ ? std::exp(-h) : 1);
  w.estimate = -to.alpha() * std::expm1(-decay);
  w.slope = heun_ ? to.alpha() * (1 + std::expm1(-decay) / decay) : w.estimate / 2;
  w.noise = stochastic_ ? to.sigma() * std::sqrt(-std::expm1(-decay)) : 0;
  return w;
}

sdk::Update DpmSolver::first_order(const Node& from, const Node& to) const {
  const Weights w = weights(from, to);
  sdk::Update update = path_.update_at(from);
  update.x = w.x;
  update.x0 = w.estimate;
  update.keep_x0 = kEstimate;
  if (w.noise > 0) {
    update.flags |= MEDGEN_UPDATE_NOISE;
    update.noise_scale = w.noise;
  }
  return update;
}

/// The change of x0 is taken from the place before.
sdk::Update DpmSolver::multistep(const Node& before, const Node& from, const Node& to) const {
  const double slope = weights(from, to).slope * slope_ratio(from, to, before, from);
  sdk::Update update = first_order(from, to);
  update.x0 += slope;
  update.history[kEstimate] = -slope;
  return update;
}

/// Made at `between`: the step from `from` again, now with the change of x0.
sdk::Update DpmSolver::singlestep(const Node& from, const Node& between, const Node& to) const {
  const Weights w = weights(from, to);
  const double slope = w.slope * slope_ratio(from, to, from, between);
  sdk::Update update = path_.update_at(between);
  update.x0 = slope;
  update.history[kEstimate] = w.estimate - slope;
  update.history[kSample] = w.x;
  return update;
}

PlannedRun DpmSolver::begin(const sdk::ScheduleRequest& request) const {
  const std::vector<Node> nodes = path_.nodes(request);
  return singlestep_ ? singlestep_run(nodes) : multistep_run(nodes);
}

PlannedRun DpmSolver::multistep_run(const std::vector<Node>& nodes) const {
  PlannedRun run;
  for (std::size_t i = 0; i + 1 < nodes.size(); ++i) {
    const bool known = second_order_ && i > 0 && !nodes[i - 1].is_pure_noise() && !nodes[i + 1].is_clean();
    run.add(nodes[i].t, known ? multistep(nodes[i - 1], nodes[i], nodes[i + 1]) : first_order(nodes[i], nodes[i + 1]));
  }
  return run;
}

PlannedRun DpmSolver::singlestep_run(const std::vector<Node>& nodes) const {
  PlannedRun run;
  for (std::size_t i = 0; i + 1 < nodes.size();) {
    sdk::Update update = first_order(nodes[i], nodes[i + 1]);
    const bool pair = second_order_ && i + 2 < nodes.size() && !nodes[i].is_pure_noise() && !nodes[i + 2].is_clean();
    if (pair) {
      update.keep_x = kSample;
      update.completes_step = 0;
    }
    run.add(nodes[i].t, update);
    if (pair) run.add(nodes[i + 1].t, singlestep(nodes[i], nodes[i + 1], nodes[i + 2]));
    i += pair ? 2 : 1;
  }
  return run;
}

}  // namespace medgen::schedulers
