// SPDX-License-Identifier: Apache-2.0
#include "core/cli/probe_scheduler.h"

#include "core/base/text.h"
#include "core/config/parse.h"
#include "core/sample/update.h"

#include <algorithm>

namespace medgen::cli {
namespace {

Tensor input(const Inputs& in, const std::string& name) {
  const auto found = in.tensors.find(name);
  if (found == in.tensors.end()) throw DataError("the input has no tensor '{}'", name);
  return found->second.to(DType::F32);
}

void check_same_shape(const Tensor& a, std::string_view name, const Tensor& b, std::string_view other) {
  if (a.shape() == b.shape()) return;
  throw DataError("{} is {} and {} is {}; they must have the same shape", name, to_string(a.shape()), other,
                  to_string(b.shape()));
}

ScheduleRequest request(const ConfigNode& params, const Tensor& x) {
  ScheduleRequest request;
  request.steps = params.get<int>("num_inference_steps", 0);
  request.start = params.get<double>("start", 1.0);
  request.timesteps = params.get<std::vector<double>>("timesteps", {});
  if (x.shape().empty()) throw DataError("x must have a batch axis, got a scalar");
  request.latent_shape = params.get<Shape>("shape", Shape(x.shape().begin() + 1, x.shape().end()));
  if (request.steps < 1 && request.timesteps.empty()) params.fail("needs num_inference_steps >= 1, or timesteps");
  return request;
}

TensorMap step(Scheduler& scheduler, const Inputs& in, const ConfigNode& params) {
  const Tensor x = input(in, "x");
  const Tensor output = input(in, "model_output");
  const auto schedule = scheduler.begin(request(params, x));
  const auto evaluation = params.get<std::size_t>("i", 0);
  if (evaluation >= schedule->timesteps().size()) {
    params.at("i").fail("must be below the number of evaluations, {}", schedule->timesteps().size());
  }
  const Update update = schedule->update(evaluation);
  const Tensor noise = (update.flags & MEDGEN_UPDATE_NOISE) != 0 ? input(in, "noise") : Tensor();
  if (!noise.empty()) check_same_shape(noise, "noise", x, "x");
  History history;
  return {{"x", apply_update(update, x, output, noise, history)}};
}

/// Row by row, because every row may have a time of its own.
TensorMap at_levels(Scheduler& scheduler, const Inputs& in, const std::string& result,
                    Tensor (*function)(const NoiseLevel&, const Tensor&, const Tensor&, unsigned)) {
  const Tensor x0 = input(in, "x0");
  const Tensor noise = input(in, "noise");
  check_same_shape(noise, "noise", x0, "x0");
  const Tensor timesteps = in.tensors.contains("timesteps") ? in.tensors.at("timesteps").to(DType::F64) : Tensor();
  const std::int64_t rows = x0.shape().empty() ? 0 : x0.shape().front();
  if (rows == 0 || timesteps.empty() || (timesteps.size() != rows && timesteps.size() != 1)) {
    throw DataError("timesteps must have one value for each of the {} rows of x0, or one for all", rows);
  }
  std::vector<Tensor> results;
  for (std::int64_t row = 0; row < rows; ++row) {
    const double t = timesteps.values<double>()[static_cast<std::size_t>(timesteps.size() == 1 ? 0 : row)];
    results.push_back(function(scheduler.level(t), x0.rows(row, 1), noise.rows(row, 1), 0));
  }
  return {{result, concat_rows(results)}};
}

}  // namespace

void check_scheduler_params(const std::string& params_json) {
  const std::vector<std::string> known = {"num_inference_steps", "start", "timesteps", "shape", "i", "u"};
  for (const auto& [name, value] : parse_config(params_json.empty() ? "{}" : params_json, "--params").members()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    value.fail("is not known{}; a scheduler's functions take {}", did_you_mean(name, known), fmt::join(known, ", "));
  }
}

bool is_scheduler_arithmetic(std::string_view function) {
  return function == "step" || function == "add_noise" || function == "target";
}

TensorMap probe_scheduler(Scheduler& scheduler, std::string_view function, const Inputs& in) {
  const ConfigNode params = parse_config(in.params_json.empty() ? "{}" : in.params_json, "--params");
  if (function == "step") return step(scheduler, in, params);
  if (function == "add_noise") return at_levels(scheduler, in, "x", add_noise);
  return at_levels(scheduler, in, "target", training_target);
}

}  // namespace medgen::cli
