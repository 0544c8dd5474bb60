// SPDX-License-Identifier: Apache-2.0
// D_i is the estimate of x0 at place i, and r = (lambda - lambda_i) / h says where another place is, in units of the
// step from i to i+1. UniP steps from x_i with D_i, D_{i-1} ...; UniC steps again with D_{i+1} at r = 1 among them.
// What UniC changes is a sum over the Ds alone, so it is added to x when D_{i+1} is known, and x_i need not be kept.
#include "plugins/schedulers/unipc.h"

#include <algorithm>
#include <cmath>

namespace medgen::schedulers {
namespace {

/// The coefficients c with sum_k c_k r_k^j = moments_j, j = 0, 1 ...: each c_k is the sum of the moments over the
/// coefficients of the Lagrange polynomial that is 1 at r_k and 0 at the others.
std::vector<double> match_moments(const std::vector<double>& r, const std::vector<double>& moments) {
  std::vector<double> c;
  for (std::size_t k = 0; k < r.size(); ++k) {
    std::vector<double> polynomial{1};
    for (std::size_t other = 0; other < r.size(); ++other) {
      if (other == k) continue;
      const double scale = 1 / (r[k] - r[other]);
      polynomial.push_back(0);
      for (std::size_t j = polynomial.size(); j-- > 0;) {
        polynomial[j] = scale * ((j > 0 ? polynomial[j - 1] : 0) - r[other] * polynomial[j]);
      }
    }
    double sum = 0;
    for (std::size_t j = 0; j < polynomial.size(); ++j) sum += polynomial[j] * moments[j];
    c.push_back(sum);
  }
  return c;
}

/// j! h phi_{j+1}(h) / B for j = 1, 2 ... n, where h phi_1 = e^h - 1 and phi_{j+1} = (phi_j - 1/j!) / h.
std::vector<double> phi_moments(double h, double b, std::size_t n) {
  std::vector<double> moments;
  double phi = std::expm1(h) / h;
  double factorial = 1;
  for (std::size_t j = 1; j <= n; ++j) {
    factorial *= static_cast<double>(j);
    phi = (phi - 1 / factorial) / h;
    moments.push_back(factorial * h * phi / b);
  }
  return moments;
}

}  // namespace

/// next = x x + estimate D + sum_k others_k D_k
struct UniPc::Step {
  double x, estimate;
  std::vector<double> others;
};

UniPc::UniPc(const Config& config)
    : path_(config),
      order_(config.integer("solver_order", 2, 1, 3)),
      bh2_(config.choice("solver_type", 1, {"bh1", "bh2"}) == 1) {}

/// As many estimates as there are with a finite lambda; one less for each of the last steps.
int UniPc::step_order(const std::vector<Node>& nodes, std::size_t i) const {
  const std::size_t known = nodes.front().is_pure_noise() ? i : i + 1;
  const std::size_t left = nodes.size() - 1 - i;
  return static_cast<int>(std::clamp<std::size_t>(std::min(known, left), 1, static_cast<std::size_t>(order_)));
}

/// The step with D and the Ds at `places`, r each. For one of these B(h) needs no solving: c = 1/2 (section 3.2). An
/// infinite step has no bh1; bh2's limit is the trapezoidal rule in alpha / sigma.
UniPc::Step UniPc::solve(const Node& from, const Node& to, const std::vector<double>& places) const {
  const double h = from.lambda() - to.lambda();
  const double b = bh2_ || std::isinf(h) ? std::expm1(h) : h;
  const std::vector<double> c =
      places.size() == 1 ? std::vector<double>{0.5} : match_moments(places, phi_moments(h, b, places.size()));
  Step step{to.sigma() / from.sigma(), -to.alpha() * std::expm1(h), {}};
  for (std::size_t k = 0; k < places.size(); ++k) {
    step.others.push_back(-to.alpha() * b * c[k] / places[k]);
    step.estimate -= step.others.back();
  }
  return step;
}

/// From place i to the next; others: D_{i-1}, D_{i-2} ...
UniPc::Step UniPc::predictor(const std::vector<Node>& nodes, std::size_t i) const {
  const double h = nodes[i + 1].lambda() - nodes[i].lambda();
  std::vector<double> places;
  for (int k = 1; k < step_order(nodes, i); ++k) {
    places.push_back((nodes[i - static_cast<std::size_t>(k)].lambda() - nodes[i].lambda()) / h);
  }
  return solve(nodes[i], nodes[i + 1], places);
}

/// What to add to the predicted sample at place i: a sum over D_i, D_{i-1}, D_{i-2} ...
std::vector<double> UniPc::correction(const std::vector<Node>& nodes, std::size_t i) const {
  if (i == 0) return {0};
  const Node& from = nodes[i - 1];
  const double h = nodes[i].lambda() - from.lambda();
  std::vector<double> places{1};
  for (int k = 1; k < step_order(nodes, i - 1); ++k) {
    places.push_back((nodes[i - 1 - static_cast<std::size_t>(k)].lambda() - from.lambda()) / h);
  }
  const Step again = solve(from, nodes[i], places);
  const Step before = predictor(nodes, i - 1);
  std::vector<double> change{again.others[0], again.estimate - before.estimate};
  for (std::size_t k = 0; k < before.others.size(); ++k) change.push_back(again.others[k + 1] - before.others[k]);
  return change;
}

PlannedRun UniPc::begin(const sdk::ScheduleRequest& request) const {
  const std::vector<Node> nodes = path_.nodes(request);
  const auto slot = [&](std::size_t i) { return i % static_cast<std::size_t>(order_); };
  PlannedRun run;
  for (std::size_t i = 0; i + 1 < nodes.size(); ++i) {
    const Step next = predictor(nodes, i);
    const std::vector<double> change = correction(nodes, i);
    sdk::Update update = path_.update_at(nodes[i]);
    update.x = next.x;
    update.x0 = next.estimate + next.x * change[0];
    for (std::size_t k = 1; k < change.size(); ++k) update.history[slot(i - k)] += next.x * change[k];
    for (std::size_t k = 0; k < next.others.size(); ++k) update.history[slot(i - k - 1)] += next.others[k];
    update.keep_x0 = static_cast<std::int32_t>(slot(i));
    run.add(nodes[i].t, update);
  }
  return run;
}

}  // namespace medgen::schedulers
