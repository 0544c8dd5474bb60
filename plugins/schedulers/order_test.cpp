// SPDX-License-Identifier: Apache-2.0
// How fast each sampler's error falls with the number of steps, on problems with known solutions. The table of
// docs/schedulers.md: test_plugin_schedulers "[order-table]".
#include "plugins/schedulers/ddim.h"
#include "plugins/schedulers/dpm_solver.h"
#include "plugins/schedulers/known_problem.h"
#include "plugins/schedulers/pndm.h"
#include "plugins/schedulers/rflow.h"
#include "plugins/schedulers/unipc.h"

#include <medgen/sdk/noise.hpp>

#include <catch2/catch.hpp>
#include <functional>
#include <iomanip>
#include <iostream>
#include <string>

using namespace medgen::schedulers;
namespace sdk = medgen::sdk;
namespace noise = medgen::noise;
using Json = nlohmann::json;

namespace {

const KnownProblem kGaussian{{1.0}, {0.4}, 0.5};
const KnownProblem kMixture{{0.3, 0.7}, {-1.0, 0.8}, 0.35};
const std::vector<std::int64_t> kLatent{4, 8, 8, 8};

/// So many discrete times that their rounding does not show.
Json fine(Json values = Json::object()) {
  values.update({{"num_train_timesteps", 100000},
                 {"beta_start", 1e-6},
                 {"beta_end", 2e-4},
                 {"table_dtype", "float64"},
                 {"set_alpha_to_one", true},
                 {"clip_sample", false}});
  return values;
}

Json flow(Json values = Json::object()) {
  values.update({{"use_discrete_timesteps", false}, {"prediction_type", "flow_prediction"}});
  return values;
}

double start_of(const KnownProblem& problem, const sdk::Level& level, double z) {
  double mean = 0;
  for (std::size_t j = 0; j < problem.means.size(); ++j) mean += problem.weights[j] * problem.means[j];
  return level.alpha * mean + std::sqrt(problem.variance_at(level)) * z;
}

/// The largest error over some samples from 0.9 T to 0.1 T in n equal steps.
template <typename Scheduler>
double inner_error(const Scheduler& scheduler, double train_steps, const KnownProblem& problem, int n) {
  std::vector<double> times;
  for (int i = 0; i <= n; ++i) times.push_back(train_steps * (0.9 * (n - i) + 0.1 * i) / n);
  for (double& t : times) t = train_steps > 1000 ? std::nearbyint(t) : t;
  const auto run = scheduler.begin({0, 1.0, kLatent, times});
  const sdk::Level from = scheduler.level(times.front());
  const sdk::Level to = scheduler.level(times.back());
  double error = 0;
  for (const double z : {-1.7, -0.6, 0.3, 1.4}) {
    const double x = start_of(problem, from, z);
    const double y = sample(scheduler, run, problem, x, run.timesteps().size() - 1);
    error = std::max(error, std::abs(y - problem.flow(from, to, x)));
  }
  return error;
}

/// The same over a whole run, from pure noise to the clean sample.
template <typename Scheduler>
double whole_error(const Scheduler& scheduler, double, const KnownProblem& problem, int n) {
  const auto run = scheduler.begin({static_cast<std::uint32_t>(n), 1.0, kLatent, {}});
  double error = 0;
  for (const double z : {-1.7, -0.6, 0.3, 1.4}) {
    const double y = sample(scheduler, run, problem, z, run.timesteps().size());
    error = std::max(error, std::abs(y - problem.flow(sdk::make_level(0, 1), sdk::make_level(1, 0), z)));
  }
  return error;
}

struct Sampler {
  std::string name;
  double order;
  std::function<double(const KnownProblem&, int)> inner;
  std::function<double(const KnownProblem&, int)> whole;  ///< empty for discrete processes, which end before noise does
};

template <typename Scheduler>
Sampler discrete(std::string name, double order, Json values) {
  const auto scheduler = std::make_shared<Scheduler>(Config(fine(std::move(values)).dump()));
  return {std::move(name), order,
          [scheduler](const KnownProblem& p, int n) { return inner_error(*scheduler, 100000, p, n); }, nullptr};
}

template <typename Scheduler>
Sampler flowing(std::string name, double order, Json values) {
  const auto scheduler = std::make_shared<Scheduler>(Config(flow(std::move(values)).dump()));
  return {std::move(name), order,
          [scheduler](const KnownProblem& p, int n) { return inner_error(*scheduler, 1000, p, n); },
          [scheduler](const KnownProblem& p, int n) { return whole_error(*scheduler, 1000, p, n); }};
}

std::vector<Sampler> samplers() {
  std::vector<Sampler> all{
      discrete<Ddim>("ddim, respaced", 1, {{"respaced", true}}),
      discrete<Pndm>("pndm, respaced", 2, {{"respaced", true}}),
      discrete<Pndm>("pndm, respaced, skip_prk_steps", 2, {{"respaced", true}, {"skip_prk_steps", true}}),
      flowing<Rflow>("rflow euler, exact_dt", 1, {{"exact_dt", true}}),
      flowing<Rflow>("rflow heun", 2, {{"solver", "heun"}})};
  const auto either = [&]<typename Scheduler>(const std::string& name, double order, const Json& values) {
    all.push_back(discrete<Scheduler>(name, order, values));
    all.push_back(flowing<Scheduler>(name + ", flow", order, values));
  };
  either.operator()<DpmSolver>("dpm_solver order 1", 1, {{"solver_order", 1}});
  either.operator()<DpmSolver>("dpm_solver 2M midpoint", 2, Json::object());
  either.operator()<DpmSolver>("dpm_solver 2M heun", 2, {{"solver_type", "heun"}});
  either.operator()<DpmSolver>("dpm_solver 2S midpoint", 2, {{"method", "singlestep"}});
  either.operator()<DpmSolver>("dpm_solver 2S heun", 2, {{"method", "singlestep"}, {"solver_type", "heun"}});
  for (int order = 1; order <= 3; ++order) {
    for (const char* type : {"bh1", "bh2"}) {
      either.operator()<UniPc>("unipc order " + std::to_string(order) + " " + type, order,
                               {{"solver_order", order}, {"solver_type", type}});
    }
  }
  return all;
}

double measured_order(const std::function<double(const KnownProblem&, int)>& error, const KnownProblem& problem) {
  return std::log2(error(problem, 160) / error(problem, 640)) / 2;
}

/// Equal steps from 0.5 T: from much earlier, nothing of the start would be left.
std::vector<double> later_times(int n) {
  std::vector<double> times;
  for (int i = 0; i <= n; ++i) times.push_back(std::nearbyint(1e5 * (0.5 * (n - i) + 0.1 * i) / n));
  return times;
}

/// The SDE solver's errors in n steps on Gaussian data, at 0.1 T: of the mean of the samples from one start, and of the
/// variance of all samples. Without chance, for the samples are linear in the start and in every noise.
struct MomentErrors {
  double mean, variance;

  MomentErrors(const Json& values, int n) {
    const DpmSolver solver{Config(fine(values).dump())};
    const std::vector<double> times = later_times(n);
    const PlannedRun run = solver.begin({0, 1.0, kLatent, times});
    const auto evaluations = static_cast<std::size_t>(n);
    const sdk::Level from = solver.level(times.front());
    const sdk::Level to = solver.level(times.back());
    const double spread = std::sqrt(kGaussian.variance_at(from));
    const double target = kGaussian.variance_at(to);
    const double centre = sample(solver, run, kGaussian, from.alpha * 0.4, evaluations);
    const double off = sample(solver, run, kGaussian, from.alpha * 0.4 + spread, evaluations);
    double sum = std::pow(off - centre, 2);
    for (std::size_t i = 0; i < evaluations; ++i) {
      const auto one = [i](std::size_t k) { return k == i ? 1.0 : 0.0; };
      sum += std::pow(sample(solver, run, kGaussian, from.alpha * 0.4, evaluations, one) - centre, 2);
    }
    // Of two levels of one process the covariance is alpha_from / alpha_to times the variance at the cleaner one.
    mean = std::abs(off - to.alpha * 0.4 - from.alpha / to.alpha * target / spread);
    variance = std::abs(sum - target);
  }
};

}  // namespace

TEST_CASE("every sampler reaches its order on a Gaussian and on a mixture", "[unit][scheduler]") {
  for (const Sampler& sampler : samplers()) {
    for (const KnownProblem* problem : {&kGaussian, &kMixture}) {
      INFO(sampler.name << ", " << problem->means.size() << " components");
      CHECK(measured_order(sampler.inner, *problem) >= sampler.order - 0.3);
      CHECK(sampler.inner(*problem, 160) < 0.02);
      // From pure noise, where lambda is infinite, equal times give the methods in lambda order 2 at most.
      if (sampler.whole) CHECK(measured_order(sampler.whole, *problem) >= std::min(sampler.order, 2.0) - 0.3);
    }
  }
}

TEST_CASE("orders: the table of docs/schedulers.md", "[.][order-table]") {
  std::cout << "| sampler | order | Gaussian | mixture | mixture, whole run | error, 10 steps | error, 20 steps |\n"
            << "|---|---|---|---|---|---|---|\n"
            << std::fixed;
  for (const Sampler& sampler : samplers()) {
    std::cout << "| " << sampler.name << std::setprecision(0) << " | " << sampler.order << std::setprecision(2) << " | "
              << measured_order(sampler.inner, kGaussian) << " | " << measured_order(sampler.inner, kMixture) << " | "
              << (sampler.whole ? std::to_string(measured_order(sampler.whole, kMixture)).substr(0, 4) : "") << " | "
              << std::setprecision(5) << sampler.inner(kMixture, 10) << " | " << sampler.inner(kMixture, 20) << " |\n";
  }
  for (const char* type : {"midpoint", "heun"}) {
    for (const int order : {1, 2}) {
      const Json values{{"algorithm_type", "sde-dpmsolver++"}, {"solver_order", order}, {"solver_type", type}};
      const MomentErrors few(values, 40);
      const MomentErrors many(values, 160);
      std::cout << "| dpm_solver sde order " << order << " " << type << " | " << order << " | " << std::setprecision(2)
                << std::log2(few.variance / many.variance) / 2 << " (variance; mean off by " << std::scientific
                << few.mean << std::fixed << ") | | | | |\n";
    }
  }
}

TEST_CASE("dpm_solver: the SDE's samples of a Gaussian have its mean and variance", "[unit][scheduler]") {
  for (const char* type : {"midpoint", "heun"}) {
    for (const int order : {1, 2}) {
      const Json values{{"algorithm_type", "sde-dpmsolver++"}, {"solver_order", order}, {"solver_type", type}};
      INFO(values);
      const MomentErrors few(values, 40);
      const MomentErrors many(values, 160);
      // The estimate of x0 is a martingale of the reverse process: in the mean nothing is lost with any step.
      CHECK(few.mean < 1e-9);
      CHECK(many.variance < 1e-2);
      CHECK(std::log2(few.variance / many.variance) / 2 > order - 0.3);
    }
  }
}

TEST_CASE("dpm_solver: drawn samples of the SDE have mean and variance of the data", "[unit][scheduler]") {
  const bool rectified = GENERATE(false, true);
  Json values{{"algorithm_type", "sde-dpmsolver++"}};
  const DpmSolver solver{Config((rectified ? flow(values) : values).dump())};
  const PlannedRun run = solver.begin({200, 1.0, kLatent, {}});
  constexpr std::uint32_t kSamples = 20000;
  double sum = 0;
  double squares = 0;
  for (std::uint32_t k = 0; k < kSamples; ++k) {
    const auto drawn = [&](std::size_t i) {
      return noise::normal({7, noise::purpose_hash("step"), static_cast<std::uint32_t>(i), k}, 0);
    };
    const double start = noise::normal({7, noise::purpose_hash("initial"), 0, k}, 0);
    const double y = sample(solver, run, kGaussian, start, run.timesteps().size(), drawn);
    sum += y;
    squares += y * y;
  }
  const double mean = sum / kSamples;
  CHECK(mean == Approx(0.4).margin(0.015));
  CHECK(squares / kSamples - mean * mean == Approx(0.25).epsilon(0.03));
}
