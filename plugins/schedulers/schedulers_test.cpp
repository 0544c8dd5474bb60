// SPDX-License-Identifier: Apache-2.0
// Properties of the schedulers over their parameters, and published numbers of methods that use them.
#include "plugins/schedulers/ddim.h"
#include "plugins/schedulers/ddpm.h"
#include "plugins/schedulers/rflow.h"
#include "plugins/schedulers/rounding.h"

#include <medgen/abi/plugin.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

using namespace medgen::schedulers;
namespace sdk = medgen::sdk;
using Json = nlohmann::json;

namespace {

const std::vector<std::int64_t> kLatent{4, 64, 64, 32};

sdk::ScheduleRequest steps(std::uint32_t n, double start = 1.0) {
  return {n, start, kLatent, {}};
}

Config config(Json values = Json::object()) {
  return Config(values.dump());
}

/// Parameter sets of the discrete processes.
std::vector<Json> variants() {
  std::vector<Json> all;
  for (const char* schedule : {"linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"}) {
    for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
      for (const char* spacing : {"linspace", "leading", "trailing"}) {
        all.push_back({{"schedule", schedule},
                       {"prediction_type", prediction},
                       {"timestep_spacing", spacing},
                       {"respaced", true},
                       {"clip_sample", false},
                       {"table_dtype", all.size() % 2 == 0 ? "float64" : "float32"}});
      }
    }
  }
  return all;
}

constexpr double kX0 = 0.7;
constexpr double kEps = -1.3;

/// The output of a denoiser that knows the truth, and the sample at that level.
struct Truth {
  explicit Truth(const sdk::Level& level)
      : x(level.alpha * kX0 + level.sigma * kEps), m(level.target_x0 * kX0 + level.target_eps * kEps) {}

  double x, m;
};

double apply(const sdk::Update& u, double x, double m) {
  double x0 = u.x0_x * x + u.x0_m * m;
  if ((u.flags & MEDGEN_UPDATE_CLAMP_X0) != 0) x0 = std::min(std::max(x0, u.clamp_low), u.clamp_high);
  return u.x * x + u.m * m + u.x0 * x0;
}

template <typename Run>
void check_descends(const Run& run, std::size_t n) {
  const std::span<const double> times = run.timesteps();
  REQUIRE(times.size() == n);
  for (std::size_t i = 1; i < times.size(); ++i) REQUIRE(times[i] < times[i - 1]);
  REQUIRE(times.back() >= 0);
}

}  // namespace

TEST_CASE("levels: signal and noise have unit power, and a perfect output gives the clean sample",
          "[unit][scheduler]") {
  for (const Json& values : variants()) {
    const Ddpm scheduler{config(values)};
    for (const double t : {0.0, 1.0, 250.0, 998.0}) {
      const sdk::Level level = scheduler.level(t);
      CHECK(level.alpha * level.alpha + level.sigma * level.sigma == Approx(1).epsilon(1e-14));
      const Truth truth(level);
      CHECK(level.x0_x * truth.x + level.x0_m * truth.m == Approx(kX0).epsilon(1e-9));
    }
  }
  const Rflow flow{config()};
  for (const double t : {0.0, 0.5, 333.25, 1000.0}) {
    const Truth truth(flow.level(t));
    CHECK(flow.level(t).x0_x * truth.x + flow.level(t).x0_m * truth.m == Approx(kX0).epsilon(1e-12));
  }
}

TEST_CASE("ddim: a perfect denoiser is followed exactly and ends at the clean sample", "[unit][scheduler]") {
  for (const Json& values : variants()) {
    const std::uint32_t n = GENERATE(1u, 2u, 7u, 50u);
    INFO(values << " n=" << n);
    const Ddim scheduler{config(values)};
    const auto run = scheduler.begin(steps(n));
    check_descends(run, n);
    for (std::size_t i = 0; i < n; ++i) {
      const Truth truth(scheduler.level(run.timesteps()[i]));
      const double expected = i + 1 < n ? Truth(scheduler.level(run.timesteps()[i + 1])).x : kX0;
      CHECK(apply(run.update(i), truth.x, truth.m) == Approx(expected).epsilon(1e-7));
      CHECK(run.update(i).noise_scale == 0);
    }
  }
}

TEST_CASE("ddpm: signal, noise and fresh noise add up to the next level", "[unit][scheduler]") {
  for (const Json& values : variants()) {
    INFO(values);
    const Ddpm scheduler{config(values)};
    const auto run = scheduler.begin(steps(20));
    check_descends(run, 20);
    for (std::size_t i = 0; i < 20; ++i) {
      // Signal: with x = alpha, m = target of (x0, eps) = (1, 0). Noise likewise; fresh noise is independent of it.
      const sdk::Level now = scheduler.level(run.timesteps()[i]);
      const sdk::Update update = run.update(i);
      const double signal = apply(update, now.alpha, now.target_x0);
      const double noise = apply(update, now.sigma, now.target_eps);
      const double power = noise * noise + update.noise_scale * update.noise_scale;
      if (i + 1 < 20) {
        const sdk::Level next = scheduler.level(run.timesteps()[i + 1]);
        CHECK(signal == Approx(next.alpha).epsilon(1e-6));
        CHECK(power == Approx(next.sigma * next.sigma).epsilon(1e-5));
      } else {
        // In float32 tables 1 - alpha-bar_0 is beta_0 to four digits only; the released scheduler has this, too.
        CHECK(signal == Approx(1).epsilon(values["table_dtype"].get<std::string>() == "float64" ? 1e-9 : 3e-4));
        CHECK(power == Approx(0).margin(1e-12));
        CHECK((update.flags & MEDGEN_UPDATE_NOISE) == 0);
      }
    }
  }
}

TEST_CASE("ddim: eta 1 has the variance of ddpm", "[unit][scheduler]") {
  Json values{{"respaced", true}, {"clip_sample", false}};
  const Ddpm ancestral{config(values)};
  values["eta"] = 1;
  const Ddim implicit{config(values)};
  const auto a = ancestral.begin(steps(25));
  const auto b = implicit.begin(steps(25));
  for (std::size_t i = 0; i + 1 < 25; ++i)
    CHECK(a.update(i).noise_scale == Approx(b.update(i).noise_scale).epsilon(1e-9));
  CHECK(b.update(24).noise_scale == 0);
}

TEST_CASE("ddpm: all training times need no respacing", "[unit][scheduler]") {
  const Ddpm released{config()};
  const Ddpm respaced{config({{"respaced", true}})};
  const auto a = released.begin(steps(1000));
  const auto b = respaced.begin(steps(1000));
  for (std::size_t i = 0; i < 1000; ++i) {
    REQUIRE(a.update(i).x == b.update(i).x);
    REQUIRE(a.update(i).noise_scale == b.update(i).noise_scale);
  }
}

TEST_CASE("ddpm: as released, fewer steps go to the level of the training time before", "[unit][scheduler]") {
  const Ddpm released{config({{"clip_sample", false}})};
  const auto run = released.begin(steps(10));
  const sdk::Level now = released.level(888);
  CHECK(apply(run.update(1), now.alpha, now.target_x0) == Approx(released.level(887).alpha).epsilon(1e-6));
}

TEST_CASE("ddpm: a learned range carries the logarithms of both variances", "[unit][scheduler]") {
  const Ddpm scheduler{config({{"variance_type", "learned_range"}})};
  const auto run = scheduler.begin(steps(1000));
  const sdk::Update update = run.update(499);
  CHECK(update.flags == (MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_LEARNED_RANGE | MEDGEN_UPDATE_CLAMP_X0));
  const double beta = make_noise_table(config()).betas[500];
  CHECK(std::exp(update.log_variance_max) == Approx(beta).epsilon(1e-12));
  CHECK(update.log_variance_min < update.log_variance_max);
  CHECK(run.update(999).flags == (MEDGEN_UPDATE_LEARNED_RANGE | MEDGEN_UPDATE_CLAMP_X0));
}

TEST_CASE("clip_sample clamps the estimate, and with use_clipped_model_output the noise follows", "[unit][scheduler]") {
  Json values{
      {"respaced", true}, {"clip_sample_min", -0.5}, {"clip_sample_max", 0.5}, {"use_clipped_model_output", true}};
  const Ddim scheduler{config(values)};
  const auto run = scheduler.begin(steps(10));
  const Truth truth(scheduler.level(run.timesteps()[3]));
  const sdk::Level now = scheduler.level(run.timesteps()[3]);
  const sdk::Level next = scheduler.level(run.timesteps()[4]);
  const double noise = (truth.x - now.alpha * 0.5) / now.sigma;
  CHECK(apply(run.update(3), truth.x, truth.m) == Approx(next.alpha * 0.5 + next.sigma * noise).epsilon(1e-9));
}

TEST_CASE("times: the selections of guided-diffusion and latent-diffusion", "[unit][scheduler]") {
  const Ddpm even{config()};
  const auto run = even.begin(steps(250));
  CHECK(run.timesteps()[249] == 0);
  CHECK(run.timesteps()[248] == 4);
  CHECK(run.timesteps()[247] == 8);
  CHECK(run.timesteps()[0] == 999);
  const Ddim leading{config({{"timestep_spacing", "leading"}})};
  CHECK(leading.begin(steps(50)).timesteps()[0] == 980);
  CHECK(leading.begin(steps(50)).timesteps()[49] == 0);
  const Ddim trailing{config({{"timestep_spacing", "trailing"}})};
  CHECK(trailing.begin(steps(10)).timesteps()[0] == 999);
  CHECK(trailing.begin(steps(10)).timesteps()[9] == 99);
}

TEST_CASE("ddim: GEM-3D's 200 steps with eta 1", "[unit][scheduler][golden]") {
  const Ddim scheduler{config({{"schedule", "scaled_linear_beta"},
                               {"beta_start", 0.00085},
                               {"beta_end", 0.012},
                               {"table_dtype", "float64"},
                               {"timestep_spacing", "leading"},
                               {"steps_offset", 1},
                               {"set_alpha_to_one", false},
                               {"clip_sample", false},
                               {"eta", 1.0}})};
  const auto run = scheduler.begin(steps(200));
  CHECK(run.timesteps().front() == 996);
  CHECK(run.timesteps().back() == 1);
  CHECK(run.update(199).noise_scale == Approx(0.020648).margin(5e-7));
  CHECK(run.update(198).noise_scale == Approx(0.034997).margin(5e-7));
  CHECK(run.update(0).noise_scale == Approx(0.241123).margin(5e-7));
  CHECK(std::pow(scheduler.level(0).alpha, 2) == Approx(0.99915).margin(1e-9));
  CHECK(std::pow(scheduler.level(500).alpha, 2) == Approx(0.276333).margin(5e-7));
  CHECK(std::pow(scheduler.level(999).alpha, 2) == Approx(0.00466010).margin(5e-9));
}

TEST_CASE("ddpm: MedGen3D refines from time 9 of 1000", "[unit][scheduler][golden]") {
  const Ddpm scheduler{config()};
  const auto run = scheduler.begin(steps(10, 0.01));
  CHECK(run.timesteps().front() == 9);
  CHECK(run.timesteps().back() == 0);
  const sdk::Level level = scheduler.level(9);
  CHECK(level.alpha * level.alpha == Approx(0.998105).margin(5e-7));
  CHECK(level.sigma == Approx(0.0435).margin(5e-5));
}

TEST_CASE("ddpm: MAISI's table ends where the published one does", "[unit][scheduler][golden]") {
  const NoiseTable table =
      make_noise_table(config({{"schedule", "scaled_linear_beta"}, {"beta_start", 0.0015}, {"beta_end", 0.0195}}));
  CHECK(table.betas.front() == Approx(0.0015000001294538379).epsilon(1e-9));
  CHECK(table.betas.back() == Approx(0.019500000402331352).epsilon(1e-9));
  CHECK(table.alpha_bars.back() == Approx(0.00014230386295821518).epsilon(1e-9));
}

TEST_CASE("times: the user's own list is used as it is", "[unit][scheduler]") {
  const std::vector<double> own{900, 500, 20};
  sdk::ScheduleRequest request{0, 1.0, kLatent, own};
  const Ddim scheduler{config({{"clip_sample", false}})};
  const auto run = scheduler.begin(request);
  CHECK(std::vector<double>(run.timesteps().begin(), run.timesteps().end()) == own);
  const Truth truth(scheduler.level(900));
  CHECK(apply(run.update(0), truth.x, truth.m) == Approx(Truth(scheduler.level(500)).x).epsilon(1e-9));
  const Rflow flow{config()};
  const auto flowing = flow.begin(request);
  CHECK(flowing.update(0).m == Approx(0.4).epsilon(1e-15));
  CHECK(flowing.update(2).m == Approx(0.02).epsilon(1e-15));
}

TEST_CASE("rflow: times that rounding makes equal repeat, and the step between them is short", "[unit][scheduler]") {
  const std::vector<std::int64_t> large{4, 128, 128, 128};
  const bool discrete = GENERATE(false, true);
  const Rflow scheduler{config({{"use_discrete_timesteps", discrete}, {"use_timestep_transform", true}})};
  const auto run = scheduler.begin({700, 1.0, large, {}});
  const auto t = run.timesteps();
  REQUIRE(t.size() == 700);
  CHECK(std::is_sorted(t.begin(), t.end(), std::greater<>()));
  CHECK(std::adjacent_find(t.begin(), t.end()) != t.end());
  for (std::size_t i = 0; i < t.size(); ++i) CHECK(std::abs(run.update(i).m) < 0.02);
}

TEST_CASE("rflow: released times that are cut to 0 are steps that change nothing", "[unit][scheduler]") {
  const Rflow scheduler{config({{"num_train_timesteps", 50},
                                {"use_discrete_timesteps", true},
                                {"use_timestep_transform", true},
                                {"base_img_size_numel", 4096},
                                {"spatial_dim", 2}})};
  const auto run = scheduler.begin({32, 1.0, std::vector<std::int64_t>{1, 14, 7}, {}});
  const std::vector<double> of_monai = {50, 39, 35, 29, 26, 22, 20, 17, 16, 14, 12, 11, 10, 9, 8, 7,
                                        6,  5,  5,  4,  4,  3,  3,  2,  2,  2,  1,  1,  1,  0, 0, 0};
  CHECK(std::vector<double>(run.timesteps().begin(), run.timesteps().end()) == of_monai);
  CHECK(run.update(31).m == 0);
  const std::vector<double> own = {30, 10, 0};
  CHECK_THROWS_AS(scheduler.begin({3, 1.0, {}, own}), sdk::Error);
}

TEST_CASE("ddim: as many steps as training times, with an offset, repeat a time", "[unit][scheduler]") {
  const Ddim scheduler{config({{"steps_offset", 1}})};
  const auto run = scheduler.begin(steps(1000));
  CHECK(run.timesteps().front() == 999);
  CHECK(run.timesteps().back() == 1);
  const Ddim respaced{config({{"steps_offset", 1}, {"respaced", true}})};
  CHECK_THROWS_AS(respaced.begin(steps(1000)), sdk::Error);
}

TEST_CASE("rflow: exact steps follow a perfect denoiser and add up to the start", "[unit][scheduler]") {
  const double start = GENERATE(1.0, 0.6, 0.03);
  const bool transformed = GENERATE(false, true);
  const Rflow scheduler{
      config({{"use_discrete_timesteps", false}, {"use_timestep_transform", transformed}, {"exact_dt", true}})};
  const auto run = scheduler.begin(steps(13, start));
  check_descends(run, 13);
  double sum = 0;
  for (std::size_t i = 0; i < 13; ++i) {
    const Truth truth(scheduler.level(run.timesteps()[i]));
    const double expected = i + 1 < 13 ? Truth(scheduler.level(run.timesteps()[i + 1])).x : kX0;
    CHECK(apply(run.update(i), truth.x, truth.m) == Approx(expected).epsilon(1e-12));
    sum += run.update(i).m;
  }
  CHECK(sum == Approx(run.timesteps()[0] / 1000).epsilon(1e-12));
  if (!transformed) CHECK(sum == Approx(start).epsilon(1e-12));
}

TEST_CASE("training times lie in range and follow their distribution", "[unit][scheduler]") {
  const Ddpm discrete{config()};
  CHECK(discrete.training_time(steps(1), 0) == 0);
  CHECK(discrete.training_time(steps(1), 0.4999) == 499);
  CHECK(discrete.training_time(steps(1), std::nextafter(1.0, 0.0)) == 999);
  const Rflow flow{
      config({{"use_discrete_timesteps", false}, {"sample_method", "logit-normal"}, {"loc", 0.3}, {"scale", 1.4}})};
  CHECK(flow.training_time(steps(1), 0.5) == Approx(1000 / (1 + std::exp(-0.3))).epsilon(1e-12));
  CHECK(flow.training_time(steps(1), 0) >= 0);
  CHECK(flow.training_time(steps(1), std::nextafter(1.0, 0.0)) <= 1000);
}

TEST_CASE("rounding: half precision and the normal quantile", "[unit][scheduler]") {
  CHECK(round_to_half(0.1) == 0.0999755859375);
  CHECK(round_to_half(2049) == 2048);
  CHECK(round_to_half(2051) == 2052);
  CHECK(round_to_half(957.2) == 957);
  CHECK(round_to_half(0x1p-24 * 1.4) == 0x1p-24);
  CHECK(round_to_half(0) == 0);
  CHECK(normal_quantile(0.5) == Approx(0).margin(1e-15));
  CHECK(normal_quantile(0.975) == Approx(1.959963984540054).epsilon(1e-13));
  CHECK(normal_quantile(1e-15) == Approx(-7.941345326170998).epsilon(1e-11));
}

TEST_CASE("what a scheduler cannot do is refused with the value and the range", "[unit][scheduler]") {
  const Ddpm ddpm{config()};
  const Rflow flow{config({{"use_timestep_transform", true}})};
  CHECK_THROWS_WITH(ddpm.begin(steps(0)), Catch::Contains("from 1 to 1000"));
  CHECK_THROWS_WITH(ddpm.begin(steps(1001)), Catch::Contains("1001"));
  CHECK_THROWS_WITH(ddpm.begin(steps(11, 0.01)), Catch::Contains("from 1 to 10"));
  CHECK_THROWS_AS(ddpm.begin(steps(10, 0.0)), sdk::Error);
  CHECK_THROWS_AS(ddpm.begin(steps(10, std::nan(""))), sdk::Error);
  CHECK_THROWS_AS(flow.begin(steps(10, 1.5)), sdk::Error);
  CHECK_THROWS_AS(flow.begin(steps(0)), sdk::Error);
  CHECK_THROWS_WITH(flow.begin({10, 1.0, {}, {}}), Catch::Contains("shape"));
  CHECK_THROWS_AS(ddpm.level(0.5), sdk::Error);
  CHECK_THROWS_AS(ddpm.level(1000), sdk::Error);
  CHECK_THROWS_AS(ddpm.level(-1), sdk::Error);
  CHECK_THROWS_AS(flow.level(1000.5), sdk::Error);
  CHECK_THROWS_AS(flow.level(std::nan("")), sdk::Error);
  CHECK_THROWS_AS(ddpm.training_time(steps(1), 1.0), sdk::Error);
  CHECK_THROWS_AS(flow.training_time(steps(1), -0.1), sdk::Error);
  for (const std::vector<double>& times :
       std::vector<std::vector<double>>{{10, 10}, {10, 20}, {10.5}, {1000}, {-1}, {std::nan("")}}) {
    CHECK_THROWS_AS(ddpm.begin({0, 1.0, kLatent, times}), sdk::Error);
  }
  for (const std::vector<double>& times : std::vector<std::vector<double>>{{10, 10}, {1001}, {0}, {std::nan("")}}) {
    CHECK_THROWS_AS(flow.begin({0, 1.0, kLatent, times}), sdk::Error);
  }
}

TEST_CASE("a config that makes no sense is refused", "[unit][scheduler]") {
  for (const char* text :
       {"[1]", "{\"schedule\":", R"({"schedule": "linear"})", R"({"num_train_timesteps": 0})",
        R"({"num_train_timesteps": 10.5})", R"({"num_train_timesteps": "1000"})", R"({"beta_start": -1})",
        R"({"beta_start": 0, "schedule": "linear_beta"})", R"({"beta_end": 1.0})", R"({"clip_sample": 1})",
        R"({"clip_sample_min": 2})", R"({"steps_offset": 1000})", R"({"prediction_type": null})"}) {
    INFO(text);
    CHECK_THROWS_AS(Ddpm{Config(text)}, sdk::Error);
  }
  CHECK_THROWS_AS((Rflow{config({{"spatial_dim", 0}})}), sdk::Error);
  CHECK_THROWS_AS((Ddim{config({{"eta", 2}})}), sdk::Error);
}

TEST_CASE("the C table gives what the class gives, and reports errors by status", "[unit][scheduler][abi]") {
  const medgen_query_t query{sizeof query, 1, 0, 0, nullptr};
  const medgen_plugin_t* plugin = medgen_plugin_v1(&query);
  REQUIRE(plugin != nullptr);
  REQUIRE(plugin->component_count == 6);
  const medgen_component_desc_t& desc = *plugin->components[0];
  CHECK(sdk::from_abi(desc.id) == "scheduler.ddpm");
  for (std::uint64_t i = 0; i < 6; ++i) CHECK(Json::accept(sdk::from_abi(plugin->components[i]->config_schema_json)));

  const std::string text = R"({"schedule": "cosine"})";
  medgen_create_t create{};
  create.struct_size = sizeof create;
  create.config_json = sdk::to_abi(text);
  medgen_obj_t* object = nullptr;
  REQUIRE(desc.base->create(&create, &object) == MEDGEN_OK);
  const auto* table = static_cast<const medgen_scheduler_t*>(desc.interface);
  const medgen_schedule_request_t request{sizeof request, 1000, 1.0, kLatent.data(), kLatent.size(), nullptr, 0};
  medgen_obj_t* run = nullptr;
  REQUIRE(table->begin(object, &request, &run) == MEDGEN_OK);
  const double* times = nullptr;
  std::uint64_t count = 0;
  REQUIRE(table->timesteps(object, run, &times, &count) == MEDGEN_OK);
  CHECK(count == 1000);
  medgen_update_t update{};
  update.struct_size = sizeof update;
  REQUIRE(table->update(object, run, 3, &update) == MEDGEN_OK);
  CHECK(update.x == Ddpm{Config(text)}.begin(steps(1000)).update(3).x);
  CHECK(update.struct_size == sizeof update);
  medgen_update_t older{};
  older.struct_size = offsetof(medgen_update_t, x);
  REQUIRE(table->update(object, run, 3, &older) == MEDGEN_OK);
  CHECK(older.x == 0);
  CHECK(table->update(object, run, 1000, &update) == MEDGEN_E_INVALID);
  medgen_level_t level{};
  level.struct_size = sizeof level;
  CHECK(table->level(object, nullptr, 5, &level) == MEDGEN_OK);
  CHECK(table->level(object, run, -5, &level) == MEDGEN_E_INVALID);
  table->end(object, run);
  desc.base->destroy(object);
  const medgen_query_t other{sizeof other, 2, 0, 0, nullptr};
  CHECK(medgen_plugin_v1(&other) == nullptr);
}
