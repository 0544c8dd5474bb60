// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/denoisers.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/limits.h"
#include "plugins/maisi/training_cost.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/large_memory.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen::maisi {
namespace {

/// x first.
std::vector<at::Tensor*> tensors_of(UnetInputs& inputs) {
  std::vector<at::Tensor*> all = {&inputs.x,
                                  &inputs.timesteps,
                                  &inputs.context,
                                  &inputs.class_labels,
                                  &inputs.mid_block_additional_residual,
                                  &inputs.top_region_index_tensor,
                                  &inputs.bottom_region_index_tensor,
                                  &inputs.spacing_tensor};
  for (at::Tensor& residual : inputs.down_block_additional_residuals) all.push_back(&residual);
  return all;
}

UnetInputs row_of(UnetInputs inputs, std::int64_t n) {
  for (at::Tensor* const tensor : tensors_of(inputs)) *tensor = support::row_of(*tensor, n);
  return inputs;
}

/// x with further channels, which may be the same for all rows.
at::Tensor joined(const at::Tensor& x, const at::Tensor& concat) {
  const bool rows = concat.dim() == x.dim() && (concat.size(0) == 1 || concat.size(0) == x.size(0));
  support::require(
      rows && concat.sizes().slice(2) == x.sizes().slice(2),
      "maisi.unet: 'concat' has shape {}, which has to be that of 'x', {}, but for its channels (and 1 row or all)",
      shape_text(concat.sizes()), shape_text(x.sizes()));
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), -1);
  sizes.front() = x.size(0);
  return at::cat({x, concat.expand(sizes)}, 1);
}

}  // namespace

UnetComponent::UnetComponent(const sdk::Create& create, std::unique_ptr<DiffusionUnet> network,
                             std::int64_t out_channels)
    : device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      network_(std::move(network)),
      out_channels_(out_channels),
      kept_weights_(nn::KeptWeights::most_bytes(create.memory_budget())) {
  support::load_weights(*network_, create, device_);
}

UnetInputs UnetComponent::inputs(const sdk::Binds& in) const {
  UnetInputs inputs;
  inputs.x = support::float_input(in, "x", device_);
  if (const at::Tensor concat = support::optional_input(in, "concat", device_); concat.defined()) {
    inputs.x = joined(inputs.x, concat);
  }
  inputs.timesteps = support::float_input(in, "timesteps", device_);
  inputs.context = support::optional_input(in, "context", device_);
  inputs.class_labels = support::optional_input(in, "class_labels", device_);
  inputs.top_region_index_tensor = support::optional_input(in, "top_region_index", device_);
  inputs.bottom_region_index_tensor = support::optional_input(in, "bottom_region_index", device_);
  inputs.spacing_tensor = support::optional_input(in, "spacing", device_);
  for (std::size_t i = 0; in.has(fmt::format("down{}", i)); ++i) {
    inputs.down_block_additional_residuals.push_back(support::float_input(in, fmt::format("down{}", i), device_));
  }
  inputs.mid_block_additional_residual = support::optional_input(in, "mid", device_);
  return inputs;
}

UnetComponent::~UnetComponent() {
  nn::release_kept_arrays();
}

void UnetComponent::predict(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  const nn::KeepArrays keep;
  const nn::KeptWeights::Use use(kept_weights_);
  const nn::DeviceScope scope(device_);
  support::require_weights(*network_, "the denoiser");
  const UnetInputs all = inputs(in);
  support::emit(out, "out",
                support::row_by_row(all.x.size(0), [&](std::int64_t n) { return evaluated(row_of(all, n)); }));
}

at::Tensor UnetComponent::evaluated(UnetInputs inputs) {
  network_->check(inputs);
  nn::Tensors given;
  for (const at::Tensor* const tensor : tensors_of(inputs)) given.push_back(*tensor);
  const auto evaluate = [&](const nn::Tensors& read) {
    const std::vector<at::Tensor*> argument = tensors_of(inputs);
    for (std::size_t i = 0; i < read.size(); ++i) *argument[i] = read[i];
    return nn::Tensors{network_->evaluate(inputs)};
  };
  return replay_.run(given, evaluate).front();
}

std::string UnetComponent::describe() const {
  const UnetConfig& config = network_->config();
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"in_channels", config.in_channels},
                        {"out_channels", out_channels_},
                        {"multiple_of", config.granularity()},
                        {"weights", support::weight_list(*network_)},
                        {"ignored_weights", unused_projections(config.include_fc)}}
      .dump();
}

std::string UnetComponent::estimate(std::string_view request_json) const {
  const nlohmann::json request = nlohmann::json::parse(request_json);
  if (request.at("function") == "train") return estimate_training(request);
  if (request.at("function") != "predict") throw sdk::invalid("only predict and train can be estimated");
  std::vector<std::int64_t> x = requested_shape(request, "x");
  const bool residuals = request.at("inputs").contains("mid");
  PassCost cost = unet_cost(network_->config(), out_channels_, {x.begin() + 2, x.end()}, compute_, residuals);
  x[1] = out_channels_;
  if (device_.is_cpu()) add_kept(cost, kept_weights_.most_bytes());
  const double result = static_cast<double>(c10::multiply_integers(x)) * sizeof(float);
  cost.peak_bytes += result;  // of the rows that are done
  nlohmann::json reply = cost_reply(cost, x[0], weight_bytes(*network_, compute_, device_), compute_, device_);
  reply["outputs"] = {{"out", x}};
  return reply.dump();
}

namespace {

/// The latent and what is joined to it are what the network takes. @throws sdk::Error
void check_channels(const nlohmann::json& request, const UnetConfig& config, std::int64_t out_channels) {
  const auto& inputs = request.at("inputs");
  const auto x = requested_shape(request, "x");
  std::int64_t channels = x[1];
  std::string sum = sdk::text("a latent of ", x[1], " channels");
  if (inputs.contains("concat")) {
    const auto joined = requested_shape(request, "concat");
    if (!std::equal(joined.begin() + 2, joined.end(), x.begin() + 2, x.end()))
      throw sdk::invalid("what is joined to the latent (concat) has the shape ", inputs.at("concat").dump(),
                         ", the latent ", inputs.at("x").dump());
    channels += joined[1];
    sum += sdk::text(" and ", joined[1], " that are joined to it (concat) make ", channels);
  }
  if (channels != config.in_channels)
    throw sdk::invalid(sum, ", the denoiser takes ", config.in_channels, " (\"in_channels\")");
  if (inputs.contains("target") && requested_shape(request, "target")[1] != out_channels)
    throw sdk::invalid("the denoiser makes ", out_channels, " channels (\"out_channels\"), the latent has ", x[1]);
}

}  // namespace

/// Adapters learn in place of the weights, of which merged ones are made; they themselves are small.
std::string UnetComponent::estimate_training(const nlohmann::json& request) const {
  check_channels(request, network_->config(), out_channels_);
  TrainingSetup setup = TrainingSetup::read(request, compute_);
  const nlohmann::json options = request.value("options", nlohmann::json::object());
  setup.learns = options.value("train_denoiser", true);
  const double passes = options.contains("contrast") ? 2 : 1;
  double bytes = passes * training_bytes(network_->config(), out_channels_, setup);
  if (options.contains("lora")) {
    bytes += static_cast<double>(weight_bytes(*network_, at::kFloat, device_));
    setup.learns = false;
  }
  return training_reply(bytes, network_->parameter_count(), setup).dump();
}

medgen_status_t UnetComponent::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string UnetComponent::message_of(const std::exception& error) {
  return support::message_of(error);
}

UnetTrainer UnetComponent::train(const sdk::Context& context, std::string_view options_json,
                                 std::span<const sdk::TrainPeer> peers) {
  replay_.stop();
  return UnetTrainer(*this, context, options_json, peers);
}

const void* Unet::extension(std::string_view extension_id) {
  return extension_id == MEDGEN_TRAIN_1 ? &sdk::train_table<Unet> : nullptr;
}

const void* MaskUnet::extension(std::string_view extension_id) {
  return extension_id == MEDGEN_TRAIN_1 ? &sdk::train_table<MaskUnet> : nullptr;
}

Unet::Unet(const sdk::Create& create)
    : Unet(create, DiffusionModelUNetMaisiConfig::from_json(nlohmann::json::parse(create.config()))) {}

Unet::Unet(const sdk::Create& create, const DiffusionModelUNetMaisiConfig& config)
    : UnetComponent(create, std::make_unique<DiffusionModelUNetMaisi>(config), config.out_channels) {}

MaskUnet::MaskUnet(const sdk::Create& create)
    : MaskUnet(create, DiffusionModelUNetConfig::from_json(nlohmann::json::parse(create.config()))) {}

MaskUnet::MaskUnet(const sdk::Create& create, const DiffusionModelUNetConfig& config)
    : UnetComponent(create, std::make_unique<DiffusionModelUNet>(config), config.out_channels) {}

}  // namespace medgen::maisi
