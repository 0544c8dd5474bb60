// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/perceptual_network.h"

#include "plugins/support/bridge.h"

#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

Lpips::Network network_of(std::string_view config) {
  const bool alexnet = nlohmann::json::parse(config).value("network", "squeeze") == "st_alex";
  return alexnet ? Lpips::Network::ShiftTolerantAlexNet : Lpips::Network::SqueezeNet;
}

}  // namespace

PerceptualNetwork::PerceptualNetwork(const sdk::Create& create)
    : device_(support::prepare_device(create)), network_(std::make_unique<Lpips>(network_of(create.config()))) {
  if (!create.weights().given()) return;
  network_->load(support::weight_source(create.weights()));
  network_->to(device_);
}

void PerceptualNetwork::encode(const sdk::Context&, const sdk::Binds& in, sdk::Outputs& out) {
  const at::NoGradGuard no_grad;
  support::require_weights(*network_, id);
  support::emit(out, "distance",
                network_->distance(support::float_input(in, "x", device_), support::float_input(in, "y", device_)));
}

std::string PerceptualNetwork::describe() const {
  return nlohmann::json{{"parameters", network_->parameter_count()},
                        {"weights", support::weight_list(*network_)},
                        {"ignored_weights", {"scaling_layer.*", "lins.*"}}}
      .dump();
}

medgen_status_t PerceptualNetwork::status_of(const std::exception& error) noexcept {
  return support::status_of(error);
}

std::string PerceptualNetwork::message_of(const std::exception& error) {
  return support::message_of(error);
}

}  // namespace medgen::maisi
