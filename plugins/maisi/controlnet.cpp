// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/controlnet.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/limits.h"
#include "plugins/maisi/training_cost.h"
#include "plugins/support/bridge.h"
#include "plugins/support/nn/large_memory.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::maisi {
namespace {

/// The network's own part of the config; the scale is a parameter of the published call, not of the constructor.
ControlNetMaisiConfig controlnet_config(nlohmann::json config) {
  config.erase("conditioning_scale");
  return ControlNetMaisiConfig::from_json(config);
}

}  // namespace

ControlNet::ControlNet(const sdk::Create& create)
    : device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      kept_weights_(nn::KeptWeights::most_bytes(create.memory_budget())) {
  const auto config = nlohmann::json::parse(create.config());
  conditioning_scale_ = config.value("conditioning_scale", 1.0);
  network_ = std::make_unique<ControlNetMaisi>(controlnet_config(config));
  support::load_weights(*network_, create, device_);
}

ControlNetInputs ControlNet::inputs(const sdk::Binds& in) const {
  ControlNetInputs inputs;
  inputs.x = support::float_input(in, "x", device_);
  inputs.timesteps = support::float_input(in, "timesteps", device_);
  inputs.controlnet_cond = support::float_input(in, "controlnet_cond", device_);
  inputs.conditioning_scale = conditioning_scale_;
  inputs.context = support::optional_input(in, "context", device_);
  inputs.class_labels = support::optional_input(in, "class_labels", device_);
  // The host hands it all conditions of the U-Net, of which it takes those it knows.
  if (!network_->config().num_class_embeds) inputs.class_labels = at::Tensor();
  if (!network_->config().with_conditioning) inputs.context = at::Tensor();
  return inputs;
}

ControlNet::~ControlNet() {
  nn::release_kept_arrays();
}

void ControlNet::step(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  const nn::KeepArrays keep;
  const nn::KeptWeights::Use use(kept_weights_);
  const nn::DeviceScope scope(device_);
  support::require_weights(*network_, id);
  const ControlNetInputs all = inputs(in);
  std::vector<at::Tensor> down;
  const auto join = [](at::Tensor& sum, const at::Tensor& row) { sum = sum.defined() ? at::cat({sum, row}) : row; };
  const at::Tensor mid = support::row_by_row(all.x.size(0), [&](std::int64_t n) {
    ControlNetInputs one = all;
    for (at::Tensor* tensor : {&one.x, &one.timesteps, &one.controlnet_cond, &one.context, &one.class_labels}) {
      *tensor = support::row_of(*tensor, n);
    }
    ControlNetResiduals residuals = evaluated(std::move(one));
    down.resize(residuals.down.size());
    for (std::size_t i = 0; i < down.size(); ++i) join(down[i], residuals.down[i]);
    return residuals.mid;
  });
  for (std::size_t i = 0; i < down.size(); ++i) support::emit(out, fmt::format("down{}", i), down[i]);
  support::emit(out, "mid", mid);
}

/// The condition's embedding, which stays the same from step to step, is kept outside of what is recorded.
ControlNetResiduals ControlNet::evaluated(ControlNetInputs inputs) {
  network_->check(inputs);
  const at::Tensor embedding = network_->condition_embedding(inputs.controlnet_cond);
  const auto evaluate = [&](const nn::Tensors& read) {
    inputs.x = read[0], inputs.timesteps = read[1], inputs.context = read[2], inputs.class_labels = read[3];
    ControlNetResiduals residuals = network_->evaluate(inputs, read[4]);
    residuals.down.push_back(residuals.mid);
    return std::move(residuals.down);
  };
  ControlNetResiduals residuals;
  residuals.down = replay_.run({inputs.x, inputs.timesteps, inputs.context, inputs.class_labels, embedding}, evaluate);
  residuals.mid = residuals.down.back();
  residuals.down.pop_back();
  return residuals;
}

std::string ControlNet::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"in_channels", network_->config().in_channels},
                        {"condition_factor", network_->condition_factor()},
                        {"multiple_of", network_->config().granularity()},
                        {"weights", support::weight_list(*network_)},
                        {"ignored_weights", unused_projections(network_->config().include_fc)}}
      .dump();
}

std::string ControlNet::estimate(std::string_view request_json) const {
  const nlohmann::json request = nlohmann::json::parse(request_json);
  if (request.at("function") == "train") return estimate_training(request);
  if (request.at("function") != "step") throw sdk::invalid("only step and train can be estimated");
  const std::vector<std::int64_t> x = requested_shape(request, "x");
  PassCost cost = controlnet_cost(network_->config(), {x.begin() + 2, x.end()}, compute_);
  if (device_.is_cpu()) add_kept(cost, kept_weights_.most_bytes());
  auto outputs = nlohmann::json::object();
  double results = 0;
  for (const auto& [name, shape] : residual_shapes(network_->config(), x)) {
    outputs[name] = shape;
    results += static_cast<double>(c10::multiply_integers(shape));
  }
  // Rows that are done wait in the type of the computation.
  if (x[0] > 1) cost.peak_bytes += 2 * results * static_cast<double>(c10::elementSize(compute_));
  nlohmann::json reply = cost_reply(cost, x[0], weight_bytes(*network_, compute_, device_), compute_, device_);
  reply["outputs"] = std::move(outputs);
  return reply.dump();
}

/// Frozen, it keeps nothing for the way back.
std::string ControlNet::estimate_training(const nlohmann::json& request) const {
  const TrainingSetup setup = TrainingSetup::read(request, compute_);
  const auto batch = static_cast<double>(setup.batch);
  const double passes = request.value("options", nlohmann::json::object()).contains("contrast") ? 2 : 1;
  const double bytes =
      setup.learns ? passes * training_bytes(network_->config(), setup)
                   : batch * controlnet_cost(network_->config(), setup.spatial, setup.options.compute).peak_bytes;
  return training_reply(bytes, network_->parameter_count(), setup).dump();
}

medgen_status_t ControlNet::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string ControlNet::message_of(const std::exception& error) {
  return support::message_of(error);
}

}  // namespace medgen::maisi
