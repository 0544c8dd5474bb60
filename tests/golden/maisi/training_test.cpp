// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder.h"
#include "plugins/maisi/autoencoder_trainer.h"
#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/maisi/perceptual_network.h"
#include "plugins/maisi/unet_trainer.h"
#include "plugins/support/test_call.h"
#include "tests/golden/maisi/configs.h"
#include "tests/golden/support/golden.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <cmath>
#include <fstream>

// One training step of our trainers against losses and gradients recorded from MONAI 1.6.1 (make_training.py).

namespace medgen::maisi {
namespace {

using medgen::golden::fill_by_rule;
using medgen::golden::read_fixture;
using support::testing::Given;
using support::testing::Restored;
using support::testing::saved_by;
using support::testing::Tensors;
using support::testing::TestHost;

constexpr std::uint64_t kNoiseSeed = 10;
constexpr std::uint64_t kPosteriorSeed = 11;
constexpr double kTime = 500;

const nlohmann::json& recorded() {
  static const auto values =
      nlohmann::json::parse(std::ifstream(MEDGEN_SOURCE_DIR "/tests/golden/maisi/training.json"));
  return values;
}

at::Tensor noise(std::uint64_t seed, at::IntArrayRef shape) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed));
}

template <typename T>
T made(const nlohmann::json& config) {
  return support::testing::made<T>(config.dump());
}

double gradient_norm(nn::Module& network) {
  double sum = 0;
  for (const auto& [name, parameter] : network.parameters()) {
    const at::Tensor& gradient = parameter->value.grad();
    if (gradient.defined()) sum += gradient.square().sum(at::kDouble).item<double>();
  }
  return std::sqrt(sum);
}

/// Product of 1 - beta over the first `steps` + 1 of the released ddpm schedule.
double alpha_bar(int steps) {
  const double first = std::sqrt(0.0015);
  const double last = std::sqrt(0.0195);
  double product = 1;
  for (int i = 0; i <= steps; ++i) {
    const double root = first + (last - first) * i / 999;
    product *= 1 - root * root;
  }
  return product;
}

at::Tensor bit_planes(const at::Tensor& label) {
  std::vector<at::Tensor> planes;
  for (std::int64_t bit = 0; bit < 8; ++bit) planes.push_back(label.bitwise_right_shift(bit).bitwise_and(1));
  return at::cat(planes, 1);
}

/// The fixture's conditions around its latent, with noise on it as the method trains.
Tensors batch(bool rflow) {
  const std::string family = rflow ? "rflow" : "ddpm";
  Tensors tensors;
  for (const auto& [name, tensor] : read_fixture("maisi/unet_" + family + "_small.safetensors")) {
    if (!name.starts_with("in.")) continue;
    std::string published = name.substr(3);
    if (published.ends_with("_tensor")) published.resize(published.size() - std::string("_tensor").size());
    tensors[published] = tensor;
  }
  const at::Tensor x0 = tensors.at("x");
  const at::Tensor eps = noise(kNoiseSeed, x0.sizes());
  const double alpha = rflow ? 1 - kTime / 1000 : std::sqrt(alpha_bar(static_cast<int>(kTime)));
  const double sigma = rflow ? kTime / 1000 : std::sqrt(1 - alpha * alpha);
  tensors["x"] = alpha * x0 + sigma * eps;
  tensors["target"] = rflow ? x0 - eps : eps;
  const at::Tensor label = read_fixture("maisi/controlnet_" + family + "_small.safetensors").at("in.label");
  tensors["controlnet_cond"] = bit_planes(label);
  return tensors;
}

void check_recorded(const std::string& name, double loss, double norm) {
  INFO(name);
  CHECK(loss == Approx(recorded()[name]["loss"].get<double>()).epsilon(1e-5));
  CHECK(norm == Approx(recorded()[name]["gradient_norm"].get<double>()).epsilon(1e-4));
}

}  // namespace

TEST_CASE("maisi: a training step of the image U-Net gives the published loss and gradients", "[golden][maisi]") {
  const bool rflow = GENERATE(false, true);
  TestHost host;
  auto unet = made<Unet>(golden::unet(false, rflow));
  fill_by_rule(unet.network(), 1234);
  const Given given(batch(rflow));
  const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    UnetTrainer(unet, context, "{}", {}).step(context, given.binds(), outputs);
  });
  check_recorded(rflow ? "unet_rflow" : "unet_ddpm", out.at("loss").item<double>(), gradient_norm(unet.network()));
}

TEST_CASE("maisi: a training step of the ControlNet gives the published loss and gradients", "[golden][maisi]") {
  const bool rflow = GENERATE(false, true);
  TestHost host;
  auto unet = made<Unet>(golden::unet(false, rflow));
  auto controlnet = made<ControlNet>(golden::controlnet(false, rflow));
  fill_by_rule(unet.network(), 1234);
  fill_by_rule(controlnet.network(), 777);
  const sdk::TrainPeer peer{"controlnet", sdk::detail::handle(&controlnet), true};
  const Given given(batch(rflow));
  const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    UnetTrainer(unet, context, R"({"train_denoiser": false})", std::span(&peer, 1))
        .step(context, given.binds(), outputs);
  });
  check_recorded(rflow ? "controlnet_rflow" : "controlnet_ddpm", out.at("loss").item<double>(),
                 gradient_norm(controlnet.network()));
  CHECK(gradient_norm(unet.network()) == 0);
}

TEST_CASE("maisi: tumour weighting and region contrast give the published loss and gradients", "[golden][maisi]") {
  TestHost host;
  auto unet = made<Unet>(golden::unet(false, true));
  auto controlnet = made<ControlNet>(golden::controlnet(false, true));
  fill_by_rule(unet.network(), 1234);
  fill_by_rule(controlnet.network(), 777);
  Tensors tensors = batch(true);
  const at::Tensor label = read_fixture("maisi/controlnet_rflow_small.safetensors").at("in.label");
  at::Tensor free = label.clone();
  free.narrow(2, 0, 16).narrow(3, 0, 16).narrow(4, 0, 8).zero_();
  tensors["null/controlnet_cond"] = bit_planes(free);
  const at::Tensor region = differing_region(bit_planes(label), bit_planes(free), tensors.at("target"));
  tensors["weight"] = 1 + 99 * region.to(at::kFloat);
  const sdk::TrainPeer peer{"controlnet", sdk::detail::handle(&controlnet), true};
  const Given given(tensors);
  const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    UnetTrainer(unet, context, R"({"train_denoiser": false, "contrast": {}})", std::span(&peer, 1))
        .step(context, given.binds(), outputs);
  });
  check_recorded("contrast_rflow", out.at("loss").item<double>(), gradient_norm(controlnet.network()));
}

TEST_CASE("maisi: a training step of the VAE gives the published terms and gradients", "[golden][maisi]") {
  TestHost host;
  host.noise = [](at::IntArrayRef shape) { return noise(kPosteriorSeed, shape); };
  auto vae = made<Autoencoder>(golden::autoencoder(false));
  fill_by_rule(vae.network(), 1234);
  const Given given({{"x", read_fixture("maisi/autoencoder_small.safetensors").at("in.x")}});
  const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    AutoencoderTrainer(vae, context, R"({"kl_weight": 1e-3})").step(context, given.binds(), outputs);
  });
  const auto& want = recorded()["autoencoder"];
  CHECK(out.at("l1").item<double>() == Approx(want["l1"].get<double>()).epsilon(1e-5));
  CHECK(out.at("kl").item<double>() == Approx(want["kl"].get<double>()).epsilon(1e-5));
  CHECK(gradient_norm(vae.network()) == Approx(want["gradient_norm"].get<double>()).epsilon(1e-4));
}

namespace {

/// Weights of the discriminator by the fixtures' rule, as a checkpoint that was just begun holds them.
Tensors begun_training(nn::Module& vae) {
  PatchDiscriminator discriminator(PatchDiscriminatorConfig::from_json(golden::discriminator(true)));
  fill_by_rule(discriminator, 4321);
  Tensors state;
  const auto moments = [&](const std::string& name, const at::Tensor& value) {
    state[name + "/m"] = state[name + "/v"] = at::zeros_like(value);
  };
  for (const auto& [name, parameter] : vae.parameters()) moments("optimizer/" + name, parameter->value);
  const std::string prefix = "optimizer/discriminator/";
  for (const auto& [name, parameter] : discriminator.parameters()) {
    state[prefix + "weights/" + name] = parameter->value;
    moments(prefix + "optimizer/" + name, parameter->value);
  }
  state["optimizer/step"] = state[prefix + "optimizer/step"] = at::zeros({1});
  return state;
}

/// Every fifth of `count` slices, going round, as many as a fifth of them.
at::Tensor every_fifth(std::int64_t count) {
  return at::arange(count / 5).mul(5).remainder(count);
}

double norm_of(const Tensors& tensors, const std::string& prefix) {
  double sum = 0;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) sum += tensor.square().sum(at::kDouble).item<double>();
  }
  return std::sqrt(sum);
}

}  // namespace

TEST_CASE("maisi: a step with adversarial and perceptual losses gives the published terms and gradients",
          "[golden][maisi]") {
  TestHost host;
  auto vae = made<Autoencoder>(golden::autoencoder(false));
  auto features = made<PerceptualNetwork>(nlohmann::json{{"network", "squeeze"}});
  fill_by_rule(vae.network(), 1234);
  fill_by_rule(features.network(), 1234);
  const Given given({{"x", 0.25 * noise(12, {2, 1, 24, 24, 28}) + 0.5},
                     {"noise", noise(kPosteriorSeed, {2, 4, 6, 6, 7})},
                     {"slices.x", every_fifth(48)},
                     {"slices.y", every_fifth(48)},
                     {"slices.z", every_fifth(56)}});
  const Restored state(begun_training(vae.network()));
  Tensors gradients;
  const sdk::TrainPeer peer{"perceptual", sdk::detail::handle(&features), false};
  const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    AutoencoderTrainer trainer(vae, context, R"({"kl_weight": 1e-3, "perceptual_weight": 30, "adversarial_weight": 1})",
                               std::span(&peer, 1));
    trainer.load(context, MEDGEN_TRAIN_OPTIMIZER, state.source());
    trainer.step(context, given.binds(), outputs);
    gradients = saved_by([&](const sdk::StateSink& to) { trainer.save(context, MEDGEN_TRAIN_GRADIENTS, to); });
  });
  const auto& want = recorded()["adversarial"];
  for (const char* term : {"loss", "l1", "kl", "perceptual", "adversarial", "discriminator"}) {
    INFO(term);
    CHECK(out.at(term).item<double>() == Approx(want[term].get<double>()).epsilon(1e-4));
  }
  CHECK(norm_of(gradients, "gradients/") == Approx(want["gradient_norm"].get<double>()).epsilon(1e-4));
  CHECK(norm_of(gradients, "discriminator/gradients/") ==
        Approx(want["discriminator_gradient_norm"].get<double>()).epsilon(1e-4));
}

}  // namespace medgen::maisi
