// SPDX-License-Identifier: Apache-2.0
// Properties of the few-step samplers over their parameters.
#include "plugins/schedulers/ddim.h"
#include "plugins/schedulers/dpm_solver.h"
#include "plugins/schedulers/known_problem.h"
#include "plugins/schedulers/pndm.h"
#include "plugins/schedulers/rflow.h"
#include "plugins/schedulers/unipc.h"

#include <catch2/catch.hpp>
#include <string>

using namespace medgen::schedulers;
namespace sdk = medgen::sdk;
using Json = nlohmann::json;

namespace {

const KnownProblem kMixture{{0.3, 0.7}, {-1.0, 0.8}, 0.35};
const std::vector<std::int64_t> kLatent{4, 64, 64, 32};

sdk::ScheduleRequest steps(std::uint32_t n, double start = 1.0) {
  return {n, start, kLatent, {}};
}

Config config(const Json& values = Json::object()) {
  return Config(values.dump());
}

const std::vector<Json> kDpmSolvers{{{"solver_order", 1}},
                                    {{"solver_order", 2}},
                                    {{"solver_type", "heun"}},
                                    {{"method", "singlestep"}},
                                    {{"method", "singlestep"}, {"solver_type", "heun"}},
                                    {{"algorithm_type", "sde-dpmsolver++"}},
                                    {{"algorithm_type", "sde-dpmsolver++"}, {"solver_type", "heun"}}};
const std::vector<Json> kUniPcs{{{"solver_order", 1}},
                                {{"solver_order", 2}},
                                {{"solver_order", 3}},
                                {{"solver_order", 2}, {"solver_type", "bh1"}},
                                {{"solver_order", 3}, {"solver_type", "bh1"}}};
const std::vector<Json> kPndms{{{"respaced", true}, {"set_alpha_to_one", true}},
                               {{"respaced", true}, {"set_alpha_to_one", true}, {"skip_prk_steps", true}}};

/// Calls check(scheduler, name) with each sampler, laid over `base`.
template <typename Check>
void for_all(const Json& base, Check check) {
  const auto each = [&]<typename Scheduler>(const std::vector<Json>& variants) {
    for (Json values : variants) {
      values.update(base);
      check(Scheduler{config(values)}, std::string(Scheduler::id) + " " + values.dump());
    }
  };
  each.template operator()<DpmSolver>(kDpmSolvers);
  each.template operator()<UniPc>(kUniPcs);
  if (base.value("prediction_type", "") != "flow_prediction") each.template operator()<Pndm>(kPndms);
}

bool is_finite(const sdk::Update& u) {
  bool finite = true;
  for (const double value : {u.x0_x, u.x0_m, u.x, u.m, u.x0, u.noise_scale}) finite = finite && std::isfinite(value);
  for (const double value : u.history) finite = finite && std::isfinite(value);
  return finite;
}

template <typename Scheduler>
double result_of(const Scheduler& scheduler, std::uint32_t n, double x) {
  const auto run = scheduler.begin(steps(n));
  return sample(scheduler, run, kMixture, x, run.timesteps().size());
}

}  // namespace

TEST_CASE("any prediction type gives the same samples", "[unit][scheduler]") {
  std::vector<std::vector<double>> results;
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    results.emplace_back();
    for_all({{"prediction_type", prediction}, {"table_dtype", "float64"}},
            [&](const auto& scheduler, const std::string&) {
              for (const std::uint32_t n : {1u, 2u, 3u, 7u, 20u})
                results.back().push_back(result_of(scheduler, n, 0.8));
            });
  }
  for (std::size_t k = 0; k < results[0].size(); ++k) {
    INFO(k);
    CHECK(results[1][k] == Approx(results[0][k]).epsilon(1e-9));
    CHECK(results[2][k] == Approx(results[0][k]).epsilon(1e-9));
  }
}

TEST_CASE("every coefficient is finite from pure noise to the clean sample, whatever the number of steps",
          "[unit][scheduler]") {
  const Json base = GENERATE(
      Json::object(), Json{{"schedule", "cosine"}},
      Json{
          {"prediction_type", "flow_prediction"}, {"use_discrete_timesteps", false}, {"use_timestep_transform", true}});
  for_all(base, [](const auto& scheduler, const std::string& name) {
    for (const std::uint32_t n : {1u, 2u, 3u, 4u, 5u, 30u, 1000u}) {
      INFO(name << " n=" << n);
      const auto run = scheduler.begin(steps(n));
      const std::size_t count = run.timesteps().size();
      bool finite = true;
      for (std::size_t i = 0; i < count; ++i) finite = finite && is_finite(run.update(i));
      CHECK(finite);
      CHECK(run.update(count - 1).noise_scale == 0);
      CHECK(run.update(count - 1).completes_step == 1);
    }
  });
}

TEST_CASE("the last update leaves no noise: it gives the estimate of the clean sample", "[unit][scheduler]") {
  const Json base = GENERATE(Json::object(), Json{{"prediction_type", "flow_prediction"}});
  const auto ends_clean = [](const auto& scheduler, const std::string& name) {
    INFO(name);
    const auto run = scheduler.begin(steps(9));
    const sdk::Update last = run.update(run.timesteps().size() - 1);
    CHECK(last.x == 0);
    CHECK(last.x0 == 1);
    for (const double h : last.history) CHECK(h == 0);
  };
  for (Json values : kDpmSolvers) {
    values.update(base);
    ends_clean(DpmSolver{config(values)}, values.dump());
  }
}

TEST_CASE("ddim: respaced steps are those of the paper's Eq. 12 and 16", "[unit][scheduler]") {
  const double eta = GENERATE(0.0, 0.3, 1.0);
  const Ddim ddim{config({{"respaced", true}, {"clip_sample", false}, {"eta", eta}, {"table_dtype", "float64"}})};
  const auto run = ddim.begin(steps(GENERATE(2u, 7u, 100u)));
  const std::span<const double> times = run.timesteps();
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double bar = std::pow(ddim.level(times[i]).alpha, 2);
    const double next_bar = i + 1 < times.size() ? std::pow(ddim.level(times[i + 1]).alpha, 2) : 1;
    const double sigma = eta * std::sqrt((1 - next_bar) / (1 - bar)) * std::sqrt(1 - bar / next_bar);
    const double x = 0.8;
    const double e = -0.6;
    const double z = 1.1;
    const double predicted = (x - std::sqrt(1 - bar) * e) / std::sqrt(bar);
    const double expected = std::sqrt(next_bar) * predicted + std::sqrt(1 - next_bar - sigma * sigma) * e + sigma * z;
    ScalarSampler sampler(x);
    sampler.apply(run.update(i), e, z);
    CHECK(sampler.x() == Approx(expected).epsilon(1e-9));
  }
}

TEST_CASE("dpm_solver of order 1 is ddim, and Euler on rectified flow", "[unit][scheduler]") {
  const Json discrete{
      {"timestep_spacing", "trailing"}, {"respaced", true}, {"clip_sample", false}, {"solver_order", 1}};
  CHECK(result_of(DpmSolver{config(discrete)}, 12, 0.8) ==
        Approx(result_of(Ddim{config(discrete)}, 12, 0.8)).epsilon(1e-12));
  const Json flow{{"prediction_type", "flow_prediction"},
                  {"use_discrete_timesteps", false},
                  {"use_timestep_transform", true},
                  {"exact_dt", true},
                  {"solver_order", 1}};
  CHECK(result_of(DpmSolver{config(flow)}, 12, 0.8) == Approx(result_of(Rflow{config(flow)}, 12, 0.8)).epsilon(1e-12));
}

TEST_CASE("pndm: with every noise the same, each step is ddim's", "[unit][scheduler]") {
  // With x0 = 0 known to the denoiser and eps fixed, all mixes are eps.
  for (const Json& values : kPndms) {
    const Pndm pndm{config(values)};
    const auto run = pndm.begin(steps(10));
    ScalarSampler sampler(pndm.level(run.timesteps()[0]).sigma * 1.3 + pndm.level(run.timesteps()[0]).alpha * 0.7);
    for (std::size_t i = 0; i < run.timesteps().size(); ++i) {
      const sdk::Level level = pndm.level(run.timesteps()[i]);
      CHECK(sampler.x() == Approx(level.alpha * 0.7 + level.sigma * 1.3).epsilon(1e-6));
      sampler.apply(run.update(i), 1.3);
    }
    CHECK(sampler.x() == Approx(0.7).epsilon(1e-6));
  }
}

TEST_CASE("evaluations: one a step, but where a method begins or corrects", "[unit][scheduler]") {
  const auto count = [](const auto& scheduler, std::uint32_t n) {
    return scheduler.begin(steps(n)).timesteps().size();
  };
  CHECK(count(Rflow{config({{"solver", "heun"}})}, 10) == 19);
  CHECK(count(Rflow{config({{"solver", "heun"}})}, 1) == 1);
  CHECK(count(Pndm{config()}, 10) == 19);
  CHECK(count(Pndm{config({{"respaced", true}})}, 10) == 19);
  CHECK(count(Pndm{config({{"respaced", true}})}, 2) == 5);
  CHECK(count(Pndm{config({{"skip_prk_steps", true}})}, 10) == 10);
  CHECK(count(Pndm{config({{"skip_prk_steps", true}, {"respaced", true}})}, 10) == 11);
  CHECK(count(DpmSolver{config()}, 10) == 10);
  CHECK(count(DpmSolver{config({{"method", "singlestep"}})}, 10) == 10);
  CHECK(count(UniPc{config()}, 10) == 10);
}

TEST_CASE("clip_sample clamps the estimate before it is used or kept", "[unit][scheduler]") {
  const Json values{{"clip_sample", true}, {"clip_sample_min", -0.5}, {"clip_sample_max", 0.5}};
  const auto within = [](const auto& scheduler) {
    const auto run = scheduler.begin(steps(10));
    for (std::size_t i = 0; i < 10; ++i) {
      CHECK(run.update(i).flags == MEDGEN_UPDATE_CLAMP_X0);
      CHECK(run.update(i).clamp_high == 0.5);
    }
    CHECK(std::abs(sample(scheduler, run, kMixture, 1.6, 10)) <= 0.5 + 1e-12);
  };
  within(DpmSolver{config(values)});
  within(UniPc{config(values)});
  CHECK(DpmSolver{config()}.begin(steps(10)).update(0).flags == 0);
}

TEST_CASE("few steps: the higher orders are nearer to the truth than ddim", "[unit][scheduler]") {
  const double truth = kMixture.flow(sdk::make_level(0, 1), sdk::make_level(1, 0), 0.8);
  const auto error = [&](const auto& scheduler) { return std::abs(result_of(scheduler, 15, 0.8) - truth); };
  const double ddim =
      error(Ddim{config({{"respaced", true}, {"clip_sample", false}, {"timestep_spacing", "trailing"}})});
  CHECK(error(DpmSolver{config()}) < ddim / 2);
  CHECK(error(UniPc{config()}) < ddim / 2);
}

TEST_CASE("few-step samplers refuse what makes no sense", "[unit][scheduler]") {
  for (const char* text :
       {R"({"solver_order": 3})", R"({"solver_order": 0})", R"({"solver_order": 1.5})", R"({"solver_type": "bh2"})",
        R"({"algorithm_type": "dpmsolver"})", R"({"method": "adaptive"})", R"({"prediction_type": "flow"})",
        R"({"method": "singlestep", "algorithm_type": "sde-dpmsolver++"})",
        R"({"clip_sample": true, "clip_sample_min": 2})", R"({"beta_end": 2})"}) {
    INFO(text);
    CHECK_THROWS_AS(DpmSolver{Config(text)}, sdk::Error);
  }
  for (const char* text : {R"({"solver_order": 4})", R"({"solver_order": 0})", R"({"solver_type": "midpoint"})",
                           R"({"prediction_type": null})"}) {
    INFO(text);
    CHECK_THROWS_AS(UniPc{Config(text)}, sdk::Error);
  }
  CHECK_THROWS_AS(Pndm{Config(R"({"skip_prk_steps": 1})")}, sdk::Error);
  CHECK_THROWS_AS(Pndm{Config(R"({"prediction_type": "flow_prediction"})")}, sdk::Error);
  CHECK_THROWS_WITH(Rflow{Config(R"({"solver": "rk4"})")}, Catch::Contains("euler, heun"));
  CHECK_THROWS_WITH(DpmSolver{Config(R"({"solver_order": 3})")}, Catch::Contains("from 1 to 2"));
}

TEST_CASE("few-step samplers refuse runs they cannot make", "[unit][scheduler]") {
  const std::vector<double> rising{10, 20};
  const auto refuses = [&](const auto& scheduler, const std::string& name) {
    INFO(name);
    CHECK_THROWS_AS(scheduler.begin(steps(0)), sdk::Error);
    CHECK_THROWS_AS(scheduler.begin(steps(1001)), sdk::Error);
    CHECK_THROWS_AS(scheduler.begin(steps(10, 0.0)), sdk::Error);
    CHECK_THROWS_AS(scheduler.begin({0, 1.0, kLatent, rising}), sdk::Error);
    CHECK_THROWS_AS(scheduler.level(-1), sdk::Error);
    CHECK_THROWS_AS(scheduler.training_time(steps(1), 1.0), sdk::Error);
  };
  for_all(Json::object(), refuses);
  for_all({{"prediction_type", "flow_prediction"}}, refuses);
}
