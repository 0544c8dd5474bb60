// SPDX-License-Identifier: Apache-2.0
// On a CUDA device the networks give what they give on the CPU: LibTorch sums in another order, nothing else.
#include "kernels/cuda/need_device.h"
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/support/nn/device.h"
#include "plugins/support/nn/replay.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace medgen;
using namespace medgen::maisi;
using nlohmann::json;

namespace {

const at::Device kCuda(at::kCUDA, 0);

bool has_device() {
  try {
    return nn::load_cuda() > 0;
  } catch (const std::runtime_error&) {
    return false;
  }
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  return (a.cpu() - b).norm().item<double>() / b.norm().item<double>();
}

json unet_json() {
  return {{"spatial_dims", 3},
          {"in_channels", 4},
          {"out_channels", 4},
          {"num_res_blocks", 2},
          {"num_channels", {16, 32, 64}},
          {"attention_levels", {false, false, true}},
          {"num_head_channels", {0, 0, 16}},
          {"norm_num_groups", 8},
          {"include_spacing_input", true},
          {"num_class_embeds", 3},
          {"resblock_updown", true}};
}

json autoencoder_json() {
  return {{"spatial_dims", 3},
          {"in_channels", 1},
          {"out_channels", 1},
          {"latent_channels", 4},
          {"num_channels", {16, 32, 32}},
          {"num_res_blocks", {1, 1, 1}},
          {"attention_levels", {false, false, false}},
          {"norm_num_groups", 8},
          {"with_encoder_nonlocal_attn", false},
          {"with_decoder_nonlocal_attn", false},
          {"use_convtranspose", false}};
}

UnetInputs inputs_of_step(int step) {
  at::manual_seed(static_cast<std::uint64_t>(step));
  UnetInputs in;
  in.x = at::randn({1, 4, 16, 8, 12});
  in.timesteps = at::full({1}, 900.0 - 100 * step, at::kFloat);
  in.class_labels = at::full({1}, step % 3, at::kFloat);
  in.spacing_tensor = at::randn({1, 3});
  return in;
}

template <typename Network>
void to_cuda(Network& network, at::ScalarType compute) {
  network.set_precision(compute, kCuda);
  network.to(kCuda);
}

void to_cuda(UnetInputs& in) {
  for (at::Tensor* tensor : {&in.x, &in.timesteps, &in.class_labels, &in.spacing_tensor})
    *tensor = nn::on_device(*tensor, kCuda);
}

}  // namespace

TEST_CASE("cuda: a U-Net predicts what it predicts on the CPU, recorded or not", "[gpu]") {
  NEED_DEVICE(has_device());
  const at::NoGradGuard no_grad;
  const bool narrow = GENERATE(false, true);
  const double close = narrow ? 2e-2 : 1e-4;
  const auto config = DiffusionModelUNetMaisiConfig::from_json(unet_json());
  DiffusionModelUNetMaisi here(config), there(config);
  for (DiffusionModelUNetMaisi* network : {&here, &there}) {
    network->initialize(5);
    for (const nn::NamedParameter& named : network->parameters()) {
      if (named.name == "out.2.conv.weight")
        named.parameter->value.normal_(0, 0.1, at::make_generator<at::CPUGeneratorImpl>(1));
    }
  }
  to_cuda(there, narrow ? at::kBFloat16 : at::kFloat);
  const nn::DeviceScope scope(kCuda);
  nn::Replay replay;
  for (int step = 0; step < 5; ++step) {
    UnetInputs in = inputs_of_step(step);
    const at::Tensor expected = here.forward(in);
    to_cuda(in);
    there.check(in);
    const auto evaluate = [&](const nn::Tensors& read) {
      UnetInputs of;
      of.x = read[0], of.timesteps = read[1], of.class_labels = read[2], of.spacing_tensor = read[3];
      return nn::Tensors{there.evaluate(of)};
    };
    const at::Tensor got = replay.run({in.x, in.timesteps, in.class_labels, in.spacing_tensor}, evaluate).front();
    CHECK(relative(got, expected) < close);
  }
}

TEST_CASE("cuda: an unknown class is refused with a device, too", "[gpu]") {
  NEED_DEVICE(has_device());
  const at::NoGradGuard no_grad;
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  network.initialize(5);
  to_cuda(network, at::kFloat);
  UnetInputs in = inputs_of_step(0);
  to_cuda(in);
  in.class_labels.fill_(7);
  CHECK_THROWS_WITH(network.forward(in), Catch::Contains("class label 7"));
}

TEST_CASE("cuda: an autoencoder gives what it gives on the CPU, whole or in slabs", "[gpu]") {
  NEED_DEVICE(has_device());
  const at::NoGradGuard no_grad;
  const auto config = AutoencoderKlMaisiConfig::from_json(autoencoder_json());
  AutoencoderKlMaisi here(config), there(config);
  here.initialize(5);
  there.initialize(5);
  to_cuda(there, at::kFloat);
  at::manual_seed(1);
  const at::Tensor z = at::randn({1, 4, 9, 6, 7}), x = at::randn({1, 1, 25, 18, 22});
  const at::Tensor decoded = here.decode(z);
  const nn::DeviceScope scope(kCuda);
  for (const std::int64_t device_memory : {0, 1}) {  // whole, and in slabs
    for (const std::int64_t bytes : {1, 20'000, 1 << 30}) {
      const nn::StreamOptions options{.slab_bytes = bytes, .devices = {kCuda}, .device_memory = device_memory};
      CHECK(relative(there.decode(nn::on_device(z, kCuda), options), decoded) < 1e-4);
      CHECK(relative(there.encode(nn::on_device(x, kCuda), options).mean, here.encode(x).mean) < 1e-4);
    }
  }
  nn::StreamOptions shared;  // by all there are, and more threads than that
  shared.devices.clear();
  for (int part = 0; part < 3; ++part) shared.devices.emplace_back(at::kCUDA, part % nn::load_cuda());
  CHECK(relative(there.decode(nn::on_device(z, kCuda), shared), decoded) < 1e-4);
}
