// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/mask_autoencoder.h"

#include "plugins/maisi/cost.h"
#include "plugins/maisi/networks/limits.h"
#include "plugins/support/bridge.h"
#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full_like.h>
#include <ATen/TensorOperators.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

/// The network's own part of the config.
AutoencoderKlMaisiConfig network_config(nlohmann::json config) {
  config.erase("classes");
  config.erase("encoding");
  return AutoencoderKlMaisiConfig::from_json(config);
}

void emit_scalar(sdk::Outputs& out, const char* name, const at::Tensor& value) {
  support::emit(out, name, value.detach().to(at::kFloat).reshape({1}));
}

/// Standard normal noise of the host, so that training is reproducible for any number of threads.
at::Tensor noise_like(const sdk::Context& context, const at::Tensor& like) {
  at::Tensor noise =
      at::empty_like(like, at::TensorOptions().dtype(at::kFloat).device(at::kCPU), at::MemoryFormat::Contiguous);
  medgen_tensor_t view{};
  view.data = noise.data_ptr();
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(noise.dim());
  view.dtype = sdk::kFloat32;
  view.shape = const_cast<std::int64_t*>(noise.sizes().data());
  view.strides = const_cast<std::int64_t*>(noise.strides().data());
  context.fill_noise(sdk::Tensor(view, "noise"), "train.posterior");
  return noise.to(like.device());
}

}  // namespace

MaskAutoencoder::MaskAutoencoder(const sdk::Create& create)
    : config_(network_config(nlohmann::json::parse(create.config()))),
      bits_(nlohmann::json::parse(create.config()).value("encoding", "bits") == "bits"),
      classes_(nlohmann::json::parse(create.config()).at("classes").get<std::vector<std::int64_t>>()),
      memory_budget_(create.memory_budget()),
      device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      network_(std::make_unique<AutoencoderKlMaisi>(config_)) {
  const auto count = static_cast<std::int64_t>(classes_.size());
  support::require(config_.out_channels == count, "out_channels is {}, but there are {} classes", config_.out_channels,
                   count);
  support::require(bits_ || config_.in_channels == count, "in_channels is {}, but one_hot makes {} planes",
                   config_.in_channels, count);
  support::load_weights(*network_, create, device_);
}

at::Tensor MaskAutoencoder::planes(const at::Tensor& labels) const {
  const at::Tensor ids = labels.to(at::kLong);
  std::vector<at::Tensor> all;
  for (std::int64_t plane = 0; plane < config_.in_channels; ++plane) {
    const at::Tensor one =
        bits_ ? ids.bitwise_right_shift(plane).bitwise_and(1) : ids.eq(classes_[static_cast<std::size_t>(plane)]);
    all.push_back(one.to(at::kFloat));
  }
  return at::cat(all, 1);
}

at::Tensor MaskAutoencoder::classes_of(const at::Tensor& labels) const {
  const at::Tensor ids = labels.to(at::kLong).squeeze(1);
  at::Tensor numbers = at::full_like(ids, -1);
  for (std::size_t k = 0; k < classes_.size(); ++k)
    numbers.masked_fill_(ids.eq(classes_[k]), static_cast<std::int64_t>(k));
  const at::Tensor unknown = ids.masked_select(numbers.lt(0));
  support::require(unknown.numel() == 0, "label {} is none of the {} classes",
                   unknown.numel() == 0 ? 0 : unknown[0].item<std::int64_t>(), classes_.size());
  return numbers;
}

void MaskAutoencoder::encode(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  support::require_weights(*network_, id);
  const at::Tensor x = support::float_input(in, "x", device_);
  check_feature_map(id, "x", x, 3, 1);
  const nn::StreamOptions options =
      support::stream_options(memory_budget_, x.nbytes() * static_cast<std::uint64_t>(config_.in_channels));
  at::Tensor sigma;
  const at::Tensor mean = support::row_by_row(x.size(0), [&](std::int64_t n) {
    auto posterior = network_->encode(planes(support::row_of(x, n)), options);
    sigma = sigma.defined() ? at::cat({sigma, posterior.sigma}) : posterior.sigma;
    return posterior.mean;
  });
  support::emit(out, "mean", mean);
  support::emit(out, "sigma", sigma);
}

void MaskAutoencoder::decode(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  support::require_weights(*network_, id);
  const at::Tensor z = support::float_input(in, "z", device_);
  check_feature_map(id, "z", z, 3, config_.latent_channels);
  const nn::StreamOptions options = support::stream_options(memory_budget_, z.nbytes());
  const at::Tensor ids = at::from_blob(const_cast<std::int64_t*>(classes_.data()),
                                       {static_cast<std::int64_t>(classes_.size())}, at::kLong);
  support::emit(out, "x", support::row_by_row(z.size(0), [&](std::int64_t n) {
                  const at::Tensor likeliest = network_->decode(support::row_of(z, n), options).argmax(1, true).cpu();
                  return ids.take(likeliest).to(at::kFloat);
                }));
}

std::string MaskAutoencoder::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"latent_channels", config_.latent_channels},
                        {"compression", config_.compression()},
                        {"in_channels", 1},
                        {"out_channels", 1},
                        {"weights", support::weight_list(*network_)},
                        {"ignored_weights", {kUnusedProjections}}}
      .dump();
}

std::string MaskAutoencoder::estimate(std::string_view request_json) const {
  const nlohmann::json request = nlohmann::json::parse(request_json);
  const bool encodes = request.at("function") == "encode";
  if (!encodes && request.at("function") != "decode") throw sdk::invalid("only encode and decode can be estimated");
  std::vector<std::int64_t> shape = requested_shape(request, encodes ? "x" : "z");
  if (!network_->parameters().front().parameter->value.defined()) network_->set_compute_dtype(compute_);
  if (encodes) shape.at(1) = config_.in_channels;
  std::vector<std::int64_t> image = encodes ? shape : network_->image_shape(shape);
  // Planes or logits of one row are there as a whole.
  const auto planes = static_cast<double>(c10::multiply_integers(image)) / static_cast<double>(shape.at(0)) *
                      static_cast<double>(sizeof(float));
  const nn::StreamOptions options = support::stream_options(memory_budget_, static_cast<std::uint64_t>(planes));
  const nn::StreamCost cost = encodes ? network_->encode_cost(shape, options) : network_->decode_cost(shape, options);
  nlohmann::json reply = cost_reply({static_cast<double>(cost.memory) + planes, cost.flops}, shape[0],
                                    weight_bytes(*network_, compute_), compute_);
  reply["scratch_bytes"] = cost.files;
  image.at(1) = 1;
  if (!encodes) reply["outputs"] = {{"x", image}};
  return reply.dump();
}

MaskAutoencoderTrainer MaskAutoencoder::train(const sdk::Context& context, std::string_view options_json,
                                              std::span<const sdk::TrainPeer>) {
  return MaskAutoencoderTrainer(*this, context, options_json);
}

const void* MaskAutoencoder::extension(std::string_view extension_id) {
  return extension_id == MEDGEN_TRAIN_1 ? &sdk::train_table<MaskAutoencoder> : nullptr;
}

medgen_status_t MaskAutoencoder::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string MaskAutoencoder::message_of(const std::exception& error) {
  return support::message_of(error);
}

MaskAutoencoderTrainer::MaskAutoencoderTrainer(MaskAutoencoder& component, const sdk::Context& context,
                                               std::string_view options_json)
    : component_(&component),
      kl_weight_(options_json.empty() ? 1e-7 : nlohmann::json::parse(options_json).value("kl_weight", 1e-7)),
      modules_({{"", &component.network(), true, nullptr}},
               support::TrainingOptions::read(options_json, component.compute()), context.seed()) {}

void MaskAutoencoderTrainer::step(const sdk::Context& context, const sdk::Binds& batch, sdk::Outputs& out) {
  const at::Tensor x = support::float_input(batch, "x", component_->device());
  const at::Tensor classes = component_->classes_of(x);
  const auto posterior = component_->network().encode(component_->planes(x));
  const at::Tensor z = posterior.mean + posterior.sigma * noise_like(context, posterior.mean);
  const at::Tensor logits = component_->network().decode(z);
  const at::Tensor cross_entropy = at::cross_entropy_loss(logits, classes);
  const at::Tensor variance = posterior.sigma.square();
  const at::Tensor kl = 0.5 * (posterior.mean.square() + variance - (variance + 1e-10).log() - 1).sum() / x.size(0);
  const at::Tensor loss = cross_entropy + kl_weight_ * kl;
  modules_.backward(loss);
  emit_scalar(out, "loss", loss);
  emit_scalar(out, "cross_entropy", cross_entropy);
  emit_scalar(out, "kl", kl);
  emit_scalar(out, "accuracy", logits.detach().argmax(1).eq(classes).to(at::kFloat).mean());
}

void MaskAutoencoderTrainer::apply(const sdk::Context&, double learning_rate) {
  modules_.apply(learning_rate);
}

void MaskAutoencoderTrainer::save(const sdk::Context&, std::uint32_t what, sdk::Outputs& out) {
  modules_.save(what, out);
}

void MaskAutoencoderTrainer::load(const sdk::Context&, std::uint32_t what, const sdk::Binds& in) {
  modules_.load(what, in);
}

}  // namespace medgen::maisi
