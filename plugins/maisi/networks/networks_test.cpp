// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/autoencoder_kl_maisi.h"
#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/maisi/networks/patch_discriminator.h"
#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using nlohmann::json;
using support::InvalidInput;

json autoencoder_json() {
  return {{"spatial_dims", 3},      {"in_channels", 1},    {"out_channels", 2},
          {"num_channels", {4, 8}}, {"num_res_blocks", 1}, {"attention_levels", {false, true}},
          {"latent_channels", 3},   {"norm_num_groups", 2}};
}

json unet_json() {
  return {{"spatial_dims", 3},      {"in_channels", 2},      {"out_channels", 2},
          {"num_channels", {4, 8}}, {"num_res_blocks", 1},   {"attention_levels", {false, true}},
          {"norm_num_groups", 2},   {"num_head_channels", 4}};
}

json controlnet_json() {
  json config = unet_json();
  config.erase("out_channels");
  config.update({{"conditioning_embedding_in_channels", 1}, {"conditioning_embedding_num_channels", {3, 4}}});
  return config;
}

json with(json config, const char* key, json value) {
  config[key] = std::move(value);
  return config;
}

/// The published start has zeros that would hide half of the network.
void fill(nn::Module& network) {
  network.initialize(1);
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : network.parameters()) {
    if (parameter->value.abs().max().item<float>() == 0) parameter->value.add_(0.05);
  }
}

UnetInputs inputs(int64_t batch = 2) {
  UnetInputs all;
  all.x = at::randn({batch, 2, 4, 6, 2});
  all.timesteps = at::rand({batch}).mul(1000);
  return all;
}

ControlNetInputs control_inputs() {
  ControlNetInputs all;
  all.x = at::randn({2, 2, 4, 6, 2});
  all.timesteps = at::rand({2}).mul(1000);
  all.controlnet_cond = at::rand({2, 1, 8, 12, 4});
  return all;
}

}  // namespace

TEST_CASE("autoencoder: decoding gives back the shape that was encoded", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(autoencoder_json()));
  fill(network);
  const auto posterior = network.encode(at::randn({2, 1, 8, 6, 4}));
  CHECK(posterior.mean.sizes() == at::IntArrayRef({2, 3, 4, 3, 2}));
  CHECK(posterior.sigma.gt(0).all().item<bool>());
  CHECK(network.decode(posterior.mean).sizes() == at::IntArrayRef({2, 2, 8, 6, 4}));
}

TEST_CASE("autoencoder: a starved axis is refused before any work", "[unit][maisi]") {
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(autoencoder_json()));
  CHECK_THROWS_WITH(network.encode(at::zeros({1, 1, 8, 1, 4})), Contains("an axis of 1 voxels, at least 2"));
}

TEST_CASE("autoencoder: wrong channels, ranks, types and empty batches are refused", "[unit][maisi]") {
  AutoencoderKlMaisi network(AutoencoderKlMaisiConfig::from_json(autoencoder_json()));
  CHECK_THROWS_WITH(network.encode(at::zeros({1, 2, 8, 8, 8})), Contains("'x' has shape [1, 2, 8, 8, 8]"));
  CHECK_THROWS_AS(network.encode(at::zeros({1, 8, 8, 8})), InvalidInput);
  CHECK_THROWS_AS(network.encode(at::zeros({1, 1, 8, 8, 8}, at::kLong)), InvalidInput);
  CHECK_THROWS_AS(network.encode(at::zeros({0, 1, 8, 8, 8})), InvalidInput);
  CHECK_THROWS_AS(network.decode(at::Tensor()), InvalidInput);
}

TEST_CASE("autoencoder: configs that cannot be built are refused", "[unit][maisi]") {
  const json wrong =
      GENERATE(with(autoencoder_json(), "norm_num_groups", 3), with(autoencoder_json(), "num_res_blocks", {1}),
               with(autoencoder_json(), "attention_levels", {true}), with(autoencoder_json(), "spatial_dims", 2),
               with(autoencoder_json(), "num_channels", json::array()), with(autoencoder_json(), "norm_eps", 0),
               with(autoencoder_json(), "num_channel", {4, 8}), with(autoencoder_json(), "in_channels", -1), json(3));
  CHECK_THROWS_AS(AutoencoderKlMaisiConfig::from_json(wrong), InvalidInput);
}

TEST_CASE("unet: a fresh network predicts zero, as its last layer starts there", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  network.initialize(1);
  CHECK(network.forward(inputs()).abs().max().item<float>() == 0);
}

TEST_CASE("unet: one time step stands for the whole batch", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  fill(network);
  UnetInputs all = inputs();
  all.timesteps = at::ones({1}).mul(300);
  UnetInputs each = all;
  each.timesteps = at::ones({2}).mul(300);
  CHECK(network.forward(all).allclose(network.forward(each), 1e-4, 1e-5));
}

TEST_CASE("unet: samples of a batch do not see each other", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  fill(network);
  const UnetInputs both = inputs();
  UnetInputs second = both;
  second.x = both.x.slice(0, 1);
  second.timesteps = both.timesteps.slice(0, 1);
  CHECK(network.forward(both).slice(0, 1).allclose(network.forward(second), 1e-4, 1e-5));
}

TEST_CASE("unet: only the MAISI network lets the last residual reach the middle block", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  json stock_json = unet_json();
  stock_json["channels"] = stock_json["num_channels"];
  stock_json.erase("num_channels");
  stock_json["include_fc"] = false;
  DiffusionModelUNetMaisi maisi(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  DiffusionModelUNet stock(DiffusionModelUNetConfig::from_json(stock_json));
  fill(maisi);
  fill(stock);
  UnetInputs all = inputs();
  CHECK(maisi.forward(all).equal(stock.forward(all)));
  REQUIRE(maisi.skip_count() == 4);
  all.down_block_additional_residuals = {at::zeros({2, 4, 4, 6, 2}), at::zeros({2, 4, 4, 6, 2}),
                                         at::zeros({2, 4, 2, 3, 1}), at::ones({2, 8, 2, 3, 1})};
  CHECK_FALSE(maisi.forward(all).equal(stock.forward(all)));
}

TEST_CASE("unet: gradients reach every parameter", "[unit][maisi]") {
  json config = unet_json();
  config.update(
      {{"resblock_updown", true}, {"include_fc", true}, {"num_class_embeds", 3}, {"include_spacing_input", true}});
  const bool half = GENERATE(false, true);
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(config));
  fill(network);
  if (half) network.set_compute_dtype(at::kBFloat16);
  for (const auto& [name, parameter] : network.parameters()) parameter->value.requires_grad_(true);
  UnetInputs all = inputs();
  all.class_labels = at::ones({2}, at::kLong);
  all.spacing_tensor = at::ones({1, 3}).mul(100);
  network.forward(all).square().sum().backward();
  for (const auto& [name, parameter] : network.parameters()) {
    INFO(name);
    REQUIRE(parameter->value.grad().defined());
    // A constant added to all keys changes no softmax.
    if (!name.ends_with("to_k.bias")) CHECK(parameter->value.grad().abs().max().item<float>() > 0);
  }
}

TEST_CASE("unet: lengths that the levels cannot halve are refused before any work", "[unit][maisi]") {
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  UnetInputs all = inputs();
  all.x = at::zeros({2, 2, 4, 5, 2});
  CHECK_THROWS_WITH(network.forward(all), Contains("multiples of 2"));
}

TEST_CASE("unet: inputs that the network lacks or does not take are refused by name", "[unit][maisi]") {
  json config = unet_json();
  config.update({{"num_class_embeds", 3}, {"include_spacing_input", true}, {"include_top_region_index_input", true}});
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(config));
  fill(network);
  UnetInputs all = inputs();
  all.class_labels = at::ones({2}, at::kLong);
  all.spacing_tensor = at::ones({2, 3});
  all.top_region_index_tensor = at::ones({2, 4});
  CHECK_NOTHROW(network.forward(all));
  const auto message = [&](const auto& change) {
    UnetInputs changed = all;
    change(changed);
    try {
      network.forward(changed);
    } catch (const InvalidInput& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  CHECK_THAT(message([](UnetInputs& in) { in.x = at::Tensor(); }), Contains("'x' is missing"));
  CHECK_THAT(message([](UnetInputs& in) { in.timesteps = at::Tensor(); }), Contains("'timesteps'"));
  CHECK_THAT(message([](UnetInputs& in) { in.timesteps = at::ones({3}); }), Contains("'timesteps'"));
  CHECK_THAT(message([](UnetInputs& in) { in.class_labels = at::Tensor(); }), Contains("'class_labels' is missing"));
  CHECK_THAT(message([](UnetInputs& in) { in.class_labels = in.class_labels.mul(3); }), Contains("3 is outside 0..2"));
  CHECK_THAT(message([](UnetInputs& in) { in.spacing_tensor = at::Tensor(); }),
             Contains("'spacing_tensor' is missing"));
  CHECK_THAT(message([](UnetInputs& in) { in.spacing_tensor = at::ones({2, 4}); }), Contains("[2, 3] is wanted"));
  CHECK_THAT(message([](UnetInputs& in) { in.top_region_index_tensor = at::Tensor(); }),
             Contains("'top_region_index_tensor'"));
  CHECK_THAT(message([](UnetInputs& in) { in.context = at::ones({2, 1, 4}); }), Contains("no cross-attention"));
  CHECK_THAT(message([](UnetInputs& in) { in.down_block_additional_residuals = {in.x}; }),
             Contains("1 residuals were given"));
  CHECK_THAT(message([](UnetInputs& in) { in.mid_block_additional_residual = in.x; }), Contains("middle block"));
}

TEST_CASE("unet: a vector condition that the network does not take is refused by name", "[unit][maisi]") {
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  fill(network);
  UnetInputs spacing = inputs(), top = inputs(), bottom = inputs(), classes = inputs();
  spacing.spacing_tensor = at::ones({2, 3});
  top.top_region_index_tensor = at::ones({2, 4});
  bottom.bottom_region_index_tensor = at::ones({2, 4});
  classes.class_labels = at::ones({2}, at::kLong);
  CHECK_THROWS_WITH(network.forward(spacing), Contains("'spacing_tensor' was given"));
  CHECK_THROWS_WITH(network.forward(top), Contains("'top_region_index_tensor' was given"));
  CHECK_THROWS_WITH(network.forward(bottom), Contains("'bottom_region_index_tensor' was given"));
  CHECK_THROWS_WITH(network.forward(classes), Contains("'class_labels' was given"));
}

TEST_CASE("unet: a context of the wrong width is refused", "[unit][maisi]") {
  json config = unet_json();
  config.update({{"with_conditioning", true}, {"cross_attention_dim", 5}});
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(config));
  fill(network);
  UnetInputs all = inputs();
  CHECK_THROWS_WITH(network.forward(all), Contains("'context' has shape none, [2, tokens, 5] is wanted"));
  all.context = at::ones({2, 1, 4});
  CHECK_THROWS_AS(network.forward(all), InvalidInput);
  all.context = at::ones({2, 3, 5});
  CHECK_NOTHROW(network.forward(all));
}

TEST_CASE("unet: configs that cannot be built are refused", "[unit][maisi]") {
  const json wrong =
      GENERATE(with(unet_json(), "num_head_channels", 3), with(unet_json(), "num_head_channels", {4, 0}),
               with(unet_json(), "num_head_channels", {4}), with(unet_json(), "attention_levels", {true}),
               with(unet_json(), "num_res_blocks", {1, 1, 1}), with(unet_json(), "num_res_blocks", 0),
               with(unet_json(), "with_conditioning", true), with(unet_json(), "cross_attention_dim", 4),
               with(unet_json(), "norm_num_groups", 8), with(unet_json(), "spatial_dims", 1),
               with(unet_json(), "dropout_cattn", 2), with(unet_json(), "channels", {4, 8}),
               with(unet_json(), "num_class_embeds", 0));
  INFO(wrong.dump());
  CHECK_THROWS_AS(DiffusionModelUNetMaisiConfig::from_json(wrong), InvalidInput);
}

TEST_CASE("unet: weights exported by MONAI 1.4 with unused projections load, anything else unexpected does not",
          "[unit][maisi]") {
  DiffusionModelUNetMaisi network(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  const std::string extra =
      GENERATE("middle_block.attention.attn.out_proj.weight", "middle_block.attention.attn.to_o.weight");
  nn::WeightSource source;
  for (const auto& named : network.parameters()) source.names.push_back(named.name);
  source.names.push_back(extra);
  source.tensor = [&](const std::string& name) {
    for (const auto& named : network.parameters()) {
      if (named.name == name) return at::zeros(named.parameter->shape);
    }
    return at::zeros({8, 8});
  };
  if (extra.find("out_proj") != std::string::npos) {
    CHECK_NOTHROW(network.load(source));
  } else {
    CHECK_THROWS_WITH(network.load(source), Contains(extra));
  }
}

TEST_CASE("controlnet: a fresh network changes nothing", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
  network.initialize(1);
  const ControlNetResiduals residuals = network.forward(control_inputs());
  REQUIRE(residuals.down.size() == 4);
  for (const at::Tensor& residual : residuals.down) CHECK(residual.abs().max().item<float>() == 0);
  CHECK(residuals.mid.abs().max().item<float>() == 0);
}

TEST_CASE("controlnet: the scale multiplies every residual", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
  fill(network);
  ControlNetInputs all = control_inputs();
  const ControlNetResiduals whole = network.forward(all);
  all.conditioning_scale = 0.5;
  const ControlNetResiduals half = network.forward(all);
  for (size_t i = 0; i < whole.down.size(); ++i) CHECK(half.down[i].equal(whole.down[i].mul(0.5)));
  CHECK(half.mid.equal(whole.mid.mul(0.5)));
}

TEST_CASE("controlnet: a condition of another grid is refused before any work", "[unit][maisi]") {
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
  ControlNetInputs all = control_inputs();
  all.controlnet_cond = at::zeros({2, 1, 4, 6, 2});
  CHECK_THROWS_WITH(network.forward(all), Contains("2 times its spatial lengths"));
  all.controlnet_cond = at::zeros({1, 1, 8, 12, 4});
  CHECK_THROWS_AS(network.forward(all), InvalidInput);
  all.controlnet_cond = at::Tensor();
  CHECK_THROWS_WITH(network.forward(all), Contains("'controlnet_cond' is missing"));
}

TEST_CASE("controlnet: an axis that means of two would use up is refused before any work", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  ControlNetInputs all = control_inputs();
  all.x = at::zeros({2, 2, 4, 6, 1});
  all.controlnet_cond = at::zeros({2, 1, 8, 12, 2});
  ControlNetMaisi means(ControlNetMaisiConfig::from_json(with(controlnet_json(), "resblock_updown", true)));
  CHECK_THROWS_WITH(means.forward(all), Contains("[2, 2, 4, 6, 1]") && Contains("at least 2"));
  ControlNetMaisi convolutions(ControlNetMaisiConfig::from_json(controlnet_json()));
  fill(convolutions);
  CHECK(convolutions.forward(all).mid.sizes() == at::IntArrayRef({2, 8, 2, 3, 1}));
}

TEST_CASE("controlnet: what it remembers of a condition follows the condition and the weights", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  const auto fresh = [](const ControlNetInputs& all, double bias) {
    ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
    fill(network);
    for (const auto& [name, parameter] : network.parameters()) {
      if (name == "controlnet_cond_embedding.conv_in.conv.bias") parameter->value.add_(bias);
    }
    return network.forward(all).mid;
  };
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
  fill(network);
  ControlNetInputs all = control_inputs();
  const at::Tensor first = network.forward(all).mid;
  CHECK(network.forward(all).mid.equal(first));
  const at::Tensor before = all.controlnet_cond.clone();
  all.controlnet_cond.add_(0.5);  // in the memory of the former
  CHECK(network.forward(all).mid.equal(fresh(all, 0)));
  CHECK_FALSE(network.forward(all).mid.equal(first));
  all.controlnet_cond = before;
  CHECK(network.forward(all).mid.equal(first));
  for (const auto& [name, parameter] : network.parameters()) {
    if (name == "controlnet_cond_embedding.conv_in.conv.bias") parameter->value.add_(0.25);
  }
  CHECK(network.forward(all).mid.equal(fresh(all, 0.25)));
  for (int i = 0; i < 6; ++i) {  // more conditions than are kept
    all.controlnet_cond = before.add(i);
    CHECK(network.forward(all).mid.equal(fresh(all, 0.25)));
  }
}

TEST_CASE("controlnet: it starts from the tensors of its U-Net", "[unit][maisi]") {
  DiffusionModelUNetMaisi unet(DiffusionModelUNetMaisiConfig::from_json(unet_json()));
  ControlNetMaisi network(ControlNetMaisiConfig::from_json(controlnet_json()));
  unet.initialize(1);
  network.initialize(2);
  int64_t own = 0;
  for (const auto& [name, parameter] : network.parameters()) own += name.starts_with("controlnet_") ? 1 : 0;
  const auto total = static_cast<int64_t>(network.parameters().size());
  CHECK(nn::copy_matching_parameters(unet, network) == total - own);
}

TEST_CASE("discriminator: it gives the features of every layer and the logits last", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  const json norm =
      GENERATE(json("INSTANCE"), json("BATCH"), json(nullptr), json::array({"GROUP", {{"num_groups", 2}}}));
  PatchDiscriminator network(PatchDiscriminatorConfig::from_json(
      {{"spatial_dims", 3}, {"channels", 2}, {"in_channels", 1}, {"num_layers_d", 2}, {"norm", norm}}));
  network.initialize(1);
  const std::vector<at::Tensor> features = network.forward(at::randn({2, 1, 16, 16, 20}));
  REQUIRE(features.size() == 4);
  CHECK(features[0].sizes() == at::IntArrayRef({2, 2, 8, 8, 10}));
  CHECK(features[3].sizes() == at::IntArrayRef({2, 1, 2, 2, 3}));
}

TEST_CASE("discriminator: volumes too small for its layers and unknown norms are refused", "[unit][maisi]") {
  const json config = {{"spatial_dims", 3}, {"channels", 2}, {"in_channels", 1}};
  PatchDiscriminator network(PatchDiscriminatorConfig::from_json(config));
  CHECK_THROWS_WITH(network.forward(at::zeros({1, 1, 8, 32, 32})), Contains("too few for 5 layers"));
  CHECK_THROWS_AS(PatchDiscriminatorConfig::from_json(with(config, "norm", "LAYER")), InvalidInput);
  CHECK_THROWS_AS(PatchDiscriminatorConfig::from_json(with(config, "activation", {"RELU", 3})), InvalidInput);
  CHECK_THROWS_AS(PatchDiscriminatorConfig::from_json(with(config, "channels", 60000)), InvalidInput);
}

}  // namespace medgen::maisi
