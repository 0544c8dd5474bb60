// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/bridge.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {

namespace {

/// The network's own part of the config: how to decode is a matter of the call, not of the published constructor.
AutoencoderKlMaisiConfig network_config(nlohmann::json config) {
  config.erase("decode_roi");
  config.erase("decode_overlap");
  return AutoencoderKlMaisiConfig::from_json(config);
}

WindowOptions window_options(const nlohmann::json& config) {
  WindowOptions options;
  if (config.contains("decode_roi")) options.roi = config["decode_roi"].get<std::array<std::int64_t, 3>>();
  options.overlap = config.value("decode_overlap", options.overlap);
  return options;
}

}  // namespace

Autoencoder::Autoencoder(const sdk::Create& create)
    : config_(network_config(nlohmann::json::parse(create.config()))),
      windows_(window_options(nlohmann::json::parse(create.config()))),
      device_(support::prepare_device(create)),
      compute_(support::compute_type(create)),
      network_(std::make_unique<AutoencoderKlMaisi>(config_)) {
  support::load_weights(*network_, create, device_);
}

void Autoencoder::encode(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  support::require_weights(*network_, id);
  const at::Tensor x = support::float_input(in, "x", device_);
  at::Tensor sigma;
  const at::Tensor mean = support::row_by_row(x.size(0), [&](std::int64_t n) {
    auto posterior = network_->encode(support::row_of(x, n));
    sigma = sigma.defined() ? at::cat({sigma, posterior.sigma}) : posterior.sigma;
    return posterior.mean;
  });
  support::emit(out, "mean", mean);
  support::emit(out, "sigma", sigma);
}

void Autoencoder::decode(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  support::require_weights(*network_, id);
  const at::Tensor z = support::float_input(in, "z", device_);
  const auto decode = [&](const at::Tensor& latent) { return network_->decode(latent); };
  support::emit(out, "x", support::row_by_row(z.size(0), [&](std::int64_t n) {
                  const at::Tensor row = support::row_of(z, n);
                  return windows_.whole() ? decode(row)
                                          : decode_in_windows(row, windows_, config_.compression(), decode);
                }));
}

std::string Autoencoder::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()}, {"latent_channels", config_.latent_channels},
                        {"compression", config_.compression()},      {"in_channels", config_.in_channels},
                        {"out_channels", config_.out_channels},      {"weights", support::weight_list(*network_)},
                        {"ignored_weights", {kUnusedProjections}}}
      .dump();
}

AutoencoderTrainer Autoencoder::train(const sdk::Context& context, std::string_view options_json,
                                      std::span<const sdk::TrainPeer>) {
  return AutoencoderTrainer(*this, context, options_json);
}

const void* Autoencoder::extension(std::string_view extension_id) {
  return extension_id == MEDGEN_TRAIN_1 ? &sdk::train_table<Autoencoder> : nullptr;
}

medgen_status_t Autoencoder::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string Autoencoder::message_of(const std::exception& error) {
  return support::message_of(error);
}

}  // namespace medgen::maisi
