// SPDX-License-Identifier: Apache-2.0
// Our schedulers against MONAI's, over random parameters (golden/make_monai.py).
#include "plugins/schedulers/ddim.h"
#include "plugins/schedulers/ddpm.h"
#include "plugins/schedulers/known_problem.h"
#include "plugins/schedulers/pndm.h"
#include "plugins/schedulers/rflow.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

using namespace medgen::schedulers;
namespace sdk = medgen::sdk;
using Json = nlohmann::json;

namespace {

const Json& golden() {
  static const Json values = Json::parse(std::ifstream(MEDGEN_SOURCE_DIR "/plugins/schedulers/golden/monai.json"));
  return values;
}

sdk::ScheduleRequest request_of(const Json& test, const std::vector<std::int64_t>& shape = {}) {
  sdk::ScheduleRequest request;
  request.steps = test["n"].get<std::uint32_t>();
  request.shape = shape;
  return request;
}

/// Relative to the size of the coefficient; MONAI computes some of them in float32 from differences near 1.
bool close(double ours, double theirs, double tolerance = 1e-6) {
  return std::abs(ours - theirs) <= tolerance * std::max(1.0, std::abs(theirs));
}

/// The first betas of the cosine schedule are differences of float32 cosines, whose last bit depends on the library.
double tolerance_of(const Json& config) {
  return config["schedule"].get<std::string>() == "cosine" ? 1e-5 : 1e-6;
}

/// How (next, x0) depend on (x, m).
std::array<double, 4> response_of(const sdk::Update& u) {
  return {u.x + u.x0 * u.x0_x, u.m + u.x0 * u.x0_m, u.x0_x, u.x0_m};
}

void check_table(const Json& config, const Json& table) {
  const NoiseTable ours = make_noise_table(Config(config.dump()));
  double sum = 0;
  for (const double value : ours.alpha_bars) sum += value;
  CHECK(close(sum, table["sum"]));
  for (std::size_t k = 0; k < table["at"].size(); ++k) {
    const auto at = table["at"][k].get<std::size_t>();
    CHECK(close(ours.betas[at], table["betas"][k]));
    CHECK(close(ours.alpha_bars[at], table["alpha_bars"][k]));
  }
}

void check_response(const sdk::Update& update, const Json& theirs, double tolerance = 1e-6) {
  const std::array<double, 4> ours = response_of(update);
  // x0 of a nearly pure noise is x / alpha: the coefficients are large and cancel in `next`.
  const double size = std::max(1.0, std::abs(update.x0 * update.x0_x));
  for (std::size_t k = 0; k < 4; ++k) {
    INFO("coefficient " << k << ": " << ours[k] << " against " << theirs[k]);
    CHECK(close(ours[k], theirs[k], tolerance * size));
  }
}

template <typename Scheduler>
void check_discrete(const char* kind) {
  for (const Json& test : golden()[kind]) {
    INFO(kind << " " << test["config"] << " n=" << test["n"]);
    check_table(test["config"], test["table"]);
    const Scheduler scheduler{Config(test["config"].dump())};
    const auto run = scheduler.begin(request_of(test));
    const std::span<const double> times = run.timesteps();
    const Json& expected = test["timesteps"];
    REQUIRE(times.size() == expected.size());
    CHECK(std::count_if(times.begin(), times.end(), [&, i = 0](double t) mutable { return t != expected[i++]; }) == 0);
    for (const Json& step : test["steps"]) {
      const sdk::Update update = run.update(step["i"].get<std::size_t>());
      check_response(update, step["response"], tolerance_of(test["config"]));
      CHECK(close(update.noise_scale, step.value("noise", 0.0), tolerance_of(test["config"])));
    }
  }
}

}  // namespace

TEST_CASE("ddpm: tables, times and coefficients are MONAI's", "[unit][scheduler][golden]") {
  check_discrete<Ddpm>("ddpm");
}

TEST_CASE("ddim: tables, times and coefficients are MONAI's", "[unit][scheduler][golden]") {
  check_discrete<Ddim>("ddim");
}

TEST_CASE("pndm: tables, times and steps are MONAI's", "[unit][scheduler][golden]") {
  for (const Json& test : golden()["pndm"]) {
    INFO("pndm " << test["config"] << " n=" << test["n"]);
    check_table(test["config"], test["table"]);
    const Pndm scheduler{Config(test["config"].dump())};
    const PlannedRun run = scheduler.begin(request_of(test));
    REQUIRE(std::vector<double>(run.timesteps().begin(), run.timesteps().end()) ==
            test["timesteps"].get<std::vector<double>>());
    ScalarSampler sampler(0);
    for (std::size_t i = 0; i < run.timesteps().size(); ++i) {
      const auto [x, m, next] = test["steps"][i].get<std::array<double, 3>>();
      sampler.set(x);
      sampler.apply(run.update(i), m);
      INFO("evaluation " << i << ": " << sampler.x() << " against " << next);
      CHECK(close(sampler.x(), next));
    }
  }
}

TEST_CASE("rflow: times, steps and training times are MONAI's", "[unit][scheduler][golden]") {
  for (const Json& test : golden()["rflow"]) {
    INFO(test["config"] << " n=" << test["n"] << " " << test["shape"]);
    const Rflow scheduler{Config(test["config"].dump())};
    const auto shape = test["shape"].get<std::vector<std::int64_t>>();
    const auto run = scheduler.begin(request_of(test, shape));
    const std::span<const double> times = run.timesteps();
    const Json& expected = test["timesteps"];
    REQUIRE(times.size() == expected.size());
    CHECK(std::count_if(times.begin(), times.end(), [&, i = 0](double t) mutable { return t != expected[i++]; }) == 0);
    for (std::size_t i = 0; i < times.size(); ++i) check_response(run.update(i), test["responses"][i]);
    for (const Json& pair : test["training"]) {
      CHECK(close(scheduler.training_time(request_of(test, shape), pair[0]), pair[1], 1e-5));
    }
  }
}

TEST_CASE("rflow: the released steps of MAISI's latents, and their sum", "[unit][scheduler][golden]") {
  struct Row {
    std::vector<std::int64_t> shape;
    std::vector<double> first5, last3;
    double sum_dt;
  };

  const std::vector<Row> rows{
      {{4, 64, 64, 32}, {1000, 978.5, 957, 934.5, 911.5}, {149.875, 101.8125, 51.90625}, 1.00984375},
      {{4, 64, 64, 64}, {1000, 983, 965.5, 947.5, 928.5}, {181.875, 125, 64.5}, 1.009625},
      {{4, 128, 128, 128}, {1000, 991.5, 982.5, 973, 963}, {307.75, 222.25, 121.1875}, 1.0086875},
      {{4, 128, 128, 192}, {1000, 992.5, 984.5, 976.5, 967.5}, {337.25, 246.5, 136.375}, 1.007375}};
  const Rflow scheduler{Config(R"({"use_discrete_timesteps": false, "use_timestep_transform": true})")};
  for (const Row& row : rows) {
    sdk::ScheduleRequest request{30, 1.0, row.shape, {}};
    const auto run = scheduler.begin(request);
    const std::vector<double> times(run.timesteps().begin(), run.timesteps().end());
    CHECK(std::vector<double>(times.begin(), times.begin() + 5) == row.first5);
    CHECK(std::vector<double>(times.end() - 3, times.end()) == row.last3);
    double sum = 0;
    for (std::size_t i = 0; i < times.size(); ++i) sum += run.update(i).m;
    CHECK(sum == Approx(row.sum_dt).epsilon(1e-12));
  }
}
