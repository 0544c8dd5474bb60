// SPDX-License-Identifier: Apache-2.0
#include "core/cli/probe_scheduler.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>

#include <array>

using namespace medgen;
using medgen::cli::is_scheduler_arithmetic;
using medgen::cli::probe_scheduler;

namespace {

/// x_t = (1 - t) x0 + t eps, target = x0 - eps, and updates next = x + 0.5 m (+ eps at the last one).
NoiseLevel line_level(double t) {
  NoiseLevel level{};
  level.struct_size = sizeof level;
  level.alpha = 1 - t;
  level.sigma = t;
  level.target_x0 = 1;
  level.target_eps = -1;
  return level;
}

class LineSchedule : public Schedule {
 public:
  const std::vector<double>& timesteps() const override { return timesteps_; }

  Update update(std::size_t evaluation) const override {
    Update update{};
    update.struct_size = sizeof update;
    update.x = 1;
    update.m = 0.5;
    update.keep_x = update.keep_m = update.keep_x0 = -1;
    if (evaluation == 1) {
      update.flags = MEDGEN_UPDATE_NOISE;
      update.noise_scale = 1;
    }
    return update;
  }

  NoiseLevel level(double t) const override { return line_level(t); }

 private:
  std::vector<double> timesteps_ = {1.0, 0.5};
};

class LineScheduler : public Scheduler {
 public:
  std::string id() const override { return "test.line"; }

  std::string describe() const override { return "{}"; }

  TensorMap call(std::string_view, const CallContext&, const Inputs&) override { return {}; }

  const void* extension(const char*) const override { return nullptr; }

  medgen_obj_t* object() const override { return nullptr; }

  std::unique_ptr<Schedule> begin(const ScheduleRequest& request) override {
    last = request;
    return std::make_unique<LineSchedule>();
  }

  NoiseLevel level(double t) override { return line_level(t); }

  double training_time(const ScheduleRequest&, double u) override { return u; }

  ScheduleRequest last;
};

Tensor tensor(const std::vector<float>& values, Shape shape) {
  return Tensor::from<float>(std::span<const float>(values), std::move(shape));
}

std::vector<float> values(const Tensor& tensor) {
  const auto span = tensor.values<float>();
  return {span.begin(), span.end()};
}

}  // namespace

TEST_CASE("a probed step applies the coefficients of its evaluation", "[unit][cli]") {
  LineScheduler scheduler;
  Inputs in{{{"x", tensor({1, 2}, {1, 1, 2})}, {"model_output", tensor({4, 8}, {1, 1, 2})}},
            R"({"num_inference_steps": 2})"};
  CHECK(values(probe_scheduler(scheduler, "step", in).at("x")) == std::vector<float>{3, 6});
  CHECK(scheduler.last.steps == 2);
  CHECK(scheduler.last.latent_shape == Shape{1, 2});

  in.tensors["noise"] = tensor({10, 20}, {1, 1, 2});
  in.params_json = R"({"num_inference_steps": 2, "i": 1, "shape": [4, 8, 8, 8]})";
  CHECK(values(probe_scheduler(scheduler, "step", in).at("x")) == std::vector<float>{13, 26});
  CHECK(scheduler.last.latent_shape == Shape{4, 8, 8, 8});
}

TEST_CASE("noise is added at the time of each row", "[unit][cli]") {
  LineScheduler scheduler;
  Inputs in{{{"x0", tensor({1, 1}, {2, 1})}, {"noise", tensor({3, 3}, {2, 1})}, {"timesteps", tensor({0, 0.5}, {2})}},
            ""};
  CHECK(values(probe_scheduler(scheduler, "add_noise", in).at("x")) == std::vector<float>{1, 2});
  CHECK(values(probe_scheduler(scheduler, "target", in).at("target")) == std::vector<float>{-2, -2});
  in.tensors["timesteps"] = tensor({1}, {1});
  CHECK(values(probe_scheduler(scheduler, "add_noise", in).at("x")) == std::vector<float>{3, 3});
}

TEST_CASE("a probed step that lacks something says what", "[unit][cli]") {
  LineScheduler scheduler;
  const Tensor x = tensor({1, 2}, {1, 1, 2});
  const std::string params = R"({"num_inference_steps": 2, "i": 1})";
  CHECK_THROWS_AS(probe_scheduler(scheduler, "step", {{{"x", x}}, params}), DataError);
  CHECK_THROWS_WITH(probe_scheduler(scheduler, "step", {{{"x", x}, {"model_output", x}}, params}),
                    Catch::Contains("noise"));
  CHECK_THROWS_AS(probe_scheduler(scheduler, "step", {{{"x", x}, {"model_output", x}}, "{}"}), ConfigError);
  CHECK_THROWS_AS(
      probe_scheduler(scheduler, "step", {{{"x", x}, {"model_output", x}}, R"({"num_inference_steps": 2, "i": 2})"}),
      ConfigError);
  CHECK_THROWS_AS(probe_scheduler(scheduler, "step", {{{"x", Tensor::scalar(1)}, {"model_output", x}}, params}),
                  DataError);
}

TEST_CASE("adding noise refuses shapes and times that do not fit", "[unit][cli]") {
  LineScheduler scheduler;
  const Tensor rows = tensor({1, 1}, {2, 1});
  CHECK_THROWS_AS(probe_scheduler(scheduler, "add_noise", {{{"x0", rows}, {"noise", rows}}, ""}), DataError);
  CHECK_THROWS_AS(
      probe_scheduler(scheduler, "add_noise",
                      {{{"x0", rows}, {"noise", tensor({1}, {1, 1})}, {"timesteps", tensor({1}, {1})}}, ""}),
      DataError);
  CHECK_THROWS_AS(probe_scheduler(scheduler, "target",
                                  {{{"x0", rows}, {"noise", rows}, {"timesteps", tensor({1, 1, 1}, {3})}}, ""}),
                  DataError);
}

TEST_CASE("a parameter that no scheduler has is told, with one like it", "[unit][cli]") {
  using medgen::cli::check_scheduler_params;
  CHECK_NOTHROW(check_scheduler_params(R"({"num_inference_steps": 2, "i": 1, "u": [0.5], "shape": [4, 8]})"));
  CHECK_NOTHROW(check_scheduler_params(""));
  CHECK_THROWS_WITH(check_scheduler_params(R"({"num_inference_step": 2})"),
                    Catch::Contains("--params:1:") && Catch::Contains("num_inference_steps"));
}

TEST_CASE("only the arithmetic of schedulers is done here", "[unit][cli]") {
  CHECK(is_scheduler_arithmetic("step"));
  CHECK_FALSE(is_scheduler_arithmetic("timesteps"));
}
