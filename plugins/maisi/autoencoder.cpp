// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder.h"

#include "plugins/support/bridge.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {

Autoencoder::Autoencoder(const sdk::Create& create)
    : config_(AutoencoderKlMaisiConfig::from_json(nlohmann::json::parse(create.config()))),
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
  support::emit(out, "x", support::row_by_row(z.size(0), [&](std::int64_t n) {
                  return network_->decode(support::row_of(z, n));
                }));
}

std::string Autoencoder::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"latent_channels", config_.latent_channels},
                        {"compression", config_.compression()},
                        {"in_channels", config_.in_channels},
                        {"out_channels", config_.out_channels},
                        {"weights", support::weight_list(*network_)}}
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

}  // namespace medgen::maisi
