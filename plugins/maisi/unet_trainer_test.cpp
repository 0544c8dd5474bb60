// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/unet_trainer.h"

#include "plugins/maisi/controlnet.h"
#include "plugins/maisi/denoisers.h"
#include "plugins/support/error.h"
#include "plugins/support/test_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>

#include <optional>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using support::testing::Given;
using support::testing::made;
using support::testing::saved_by;
using support::testing::Tensors;
using support::testing::TestHost;

constexpr const char* kUnet = R"({"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "num_channels": [4, 8],
  "num_res_blocks": 1, "attention_levels": [false, true], "norm_num_groups": 2, "num_head_channels": 4})";
constexpr const char* kControlNet = R"({"spatial_dims": 3, "in_channels": 2, "num_channels": [4, 8],
  "num_res_blocks": 1, "attention_levels": [false, true], "norm_num_groups": 2, "num_head_channels": 4,
  "conditioning_embedding_in_channels": 1, "conditioning_embedding_num_channels": [3, 4]})";

Tensors batch() {
  return {{"x", at::randn({2, 2, 4, 4, 2})},
          {"timesteps", at::rand({2}).mul(1000)},
          {"target", at::randn({2, 2, 4, 4, 2})},
          {"controlnet_cond", at::rand({2, 1, 8, 8, 4})}};
}

/// Copies of all parameters, by name.
Tensors values_of(nn::Module& module) {
  Tensors values;
  for (const auto& [name, parameter] : module.parameters()) values[name] = parameter->value.detach().clone();
  return values;
}

/// Initialised, without the published zeros: they would hide what lies behind them.
void fill(nn::Module& network) {
  network.initialize(7);
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : network.parameters()) {
    if (parameter->value.abs().max().item<float>() == 0) parameter->value.add_(0.05);
  }
}

bool equal(const Tensors& a, const Tensors& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first && x.second.equal(y.second); });
}

/// A U-Net and its ControlNet, and their trainer.
struct Pair {
  TestHost host;
  Unet unet = made<Unet>(kUnet);
  ControlNet controlnet = made<ControlNet>(kControlNet);

  UnetTrainer trainer(const char* options, bool controlnet_learns = true) {
    const sdk::TrainPeer peer{"controlnet", sdk::detail::handle(&controlnet), controlnet_learns};
    std::optional<UnetTrainer> result;
    host.call([&](const sdk::Context& context, sdk::Outputs&) {
      result.emplace(unet, context, options, std::span(&peer, 1));
    });
    return std::move(*result);
  }

  double step(UnetTrainer& trainer, const Tensors& tensors) {
    const Given given(tensors);
    return host.call([&](const sdk::Context& context, sdk::Outputs& out) { trainer.step(context, given.binds(), out); })
        .at("loss")
        .item<double>();
  }

  void apply(UnetTrainer& trainer, double rate) {
    host.call([&](const sdk::Context& context, sdk::Outputs&) { trainer.apply(context, rate); });
  }
};

}  // namespace

TEST_CASE("trainers: a ControlNet without weights starts as a copy of its U-Net's way down", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  const Tensors unet = values_of(pair.unet.network());
  const UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false})");
  std::size_t copied = 0;
  for (const auto& [name, value] : values_of(pair.controlnet.network())) {
    INFO(name);
    if (name.starts_with("controlnet_")) continue;
    CHECK(value.equal(unet.at(name)));
    ++copied;
  }
  CHECK(copied > 0);
  CHECK(equal(values_of(pair.unet.network()), unet));
}

TEST_CASE("trainers: before its first step a new ControlNet changes nothing", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false})");
  const Tensors tensors = batch();
  const double with = pair.step(trainer, tensors);
  const at::NoGradGuard no_grad;
  UnetInputs alone;
  alone.x = tensors.at("x");
  alone.timesteps = tensors.at("timesteps");
  const double without = pair.unet.network().forward(alone).sub(tensors.at("target")).abs().mean().item<double>();
  CHECK(with == Approx(without).epsilon(1e-6));
}

TEST_CASE("trainers: networks that learn together start from the same tensors", "[unit][maisi]") {
  Pair pair;
  const UnetTrainer trainer = pair.trainer("{}");
  CHECK(values_of(pair.controlnet.network())
            .at("conv_in.conv.weight")
            .equal(values_of(pair.unet.network()).at("conv_in.conv.weight")));
}

TEST_CASE("trainers: a ControlNet that has weights goes on from them", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  pair.controlnet.network().initialize(8);
  const Tensors before = values_of(pair.controlnet.network());
  const UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false})");
  CHECK(equal(values_of(pair.controlnet.network()), before));
}

TEST_CASE("trainers: only what learns moves", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false})");
  const Tensors unet = values_of(pair.unet.network());
  const Tensors controlnet = values_of(pair.controlnet.network());
  pair.step(trainer, batch());
  pair.apply(trainer, 1e-2);
  CHECK(equal(values_of(pair.unet.network()), unet));
  CHECK_FALSE(equal(values_of(pair.controlnet.network()), controlnet));
}

TEST_CASE("trainers: weights of the loss count, and steps without them are the plain mean", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false, "loss": "l2"})");
  Tensors tensors = batch();
  const double plain = pair.step(trainer, tensors);
  tensors["weight"] = at::ones({2, 1, 4, 4, 2}).mul(3);
  CHECK(pair.step(trainer, tensors) == Approx(3 * plain).epsilon(1e-5));
  tensors["weight"] = at::zeros({2, 1, 4, 4, 2});
  CHECK(pair.step(trainer, tensors) == 0);
}

TEST_CASE("trainers: frozen networks without weights are refused", "[unit][maisi]") {
  Pair pair;
  CHECK_THROWS_WITH(pair.trainer(R"({"train_denoiser": false})"), Contains("a frozen network needs weights"));
  fill(pair.unet.network());
  CHECK_THROWS_WITH(pair.trainer("{}", false), Contains("controlnet: a frozen network needs weights"));
}

TEST_CASE("trainers: nothing to train is refused", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  pair.controlnet.network().initialize(8);
  CHECK_THROWS_WITH(pair.trainer(R"({"train_denoiser": false})", false), Contains("nothing to train"));
}

TEST_CASE("trainers: a batch that lacks a tensor or does not fit is refused", "[unit][maisi]") {
  Pair pair;
  UnetTrainer trainer = pair.trainer("{}");
  const std::string name = GENERATE("x", "timesteps", "target", "controlnet_cond");
  Tensors tensors = batch();
  tensors.erase(name);
  CHECK_THROWS_WITH(pair.step(trainer, tensors), Contains("'" + name + "' is missing"));
  tensors = batch();
  tensors["controlnet_cond"] = at::rand({2, 1, 4, 4, 2});
  CHECK_THROWS_WITH(pair.step(trainer, tensors), Contains("controlnet_cond"));
  tensors = batch();
  tensors["target"] = tensors["target"].narrow(0, 0, 1);  // would be broadcast
  CHECK_THROWS_WITH(pair.step(trainer, tensors), Contains("target has the shape 1x"));
}

TEST_CASE("trainers: with the contrast, tumours must show where they are and nowhere else", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  pair.controlnet.network().initialize(8);
  fill(pair.controlnet.network());
  UnetTrainer plain = pair.trainer(R"({"train_denoiser": false})");
  UnetTrainer trainer = pair.trainer(R"({"train_denoiser": false, "contrast": {"weight": 0.5}})");
  Tensors tensors = batch();
  const double without = pair.step(plain, tensors);
  tensors["null/controlnet_cond"] = tensors["controlnet_cond"].clone();
  CHECK(pair.step(trainer, tensors) == Approx(without).epsilon(1e-6));  // no tumours: nothing to compare
  tensors["null/controlnet_cond"].narrow(2, 0, 2).zero_();
  const double with = pair.step(trainer, tensors);
  CHECK(with != Approx(without).epsilon(1e-6));
  CHECK(with > without - 0.5 * 2);  // each region term is at least -margin
}

TEST_CASE("trainers: the contrast wants a ControlNet, the null condition and an odd dilation", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  UnetTrainer trainer = pair.trainer(R"({"contrast": {}})");
  CHECK_THROWS_WITH(pair.step(trainer, batch()), Contains("null/controlnet_cond"));
  CHECK_THROWS_WITH(pair.trainer(R"({"contrast": {"dilation": 4}})"), Contains("odd"));
  pair.host.call([&](const sdk::Context& context, sdk::Outputs&) {
    CHECK_THROWS_WITH(UnetTrainer(pair.unet, context, R"({"contrast": {}})", {}), Contains("needs a ControlNet"));
  });
}

TEST_CASE("trainers: what options and networks refuse is told before they have weights", "[unit][maisi]") {
  Pair pair;
  const auto check = [&](const char* options, bool controlnet_learns = true, bool has_controlnet = true) {
    const sdk::TrainPeer peer{"controlnet", sdk::detail::handle(&pair.controlnet), controlnet_learns};
    UnetTrainer::check(pair.unet, options, std::span(&peer, has_controlnet ? 1 : 0));
  };
  CHECK_NOTHROW(check(R"({"contrast": {}, "train_denoiser": false})"));
  CHECK_THROWS_WITH(check(R"({"contrast": {}})", true, false), Contains("needs a ControlNet"));
  CHECK_THROWS_WITH(check(R"({"contrast": {"dilation": 2}})"), Contains("odd"));
  CHECK_THROWS_WITH(check(R"({"contrast": {}, "lora": {"convolutions": true}, "checkpoint_activations": true})"),
                    Contains("leave one of the three"));
  CHECK_NOTHROW(check(R"({"contrast": {}, "lora": {"convolutions": true}})"));
  CHECK_THROWS_WITH(check(R"({"lora": {"names": ["foo"]}})"),
                    Contains("one of foo in its name") && Contains("some are: "));
  CHECK_THROWS_WITH(check(R"({"modality_dropout": 0.1})"), Contains("num_class_embeds"));
  CHECK_THROWS_WITH(check(R"({"train_denoiser": false})", false), Contains("nothing to train"));
  CHECK_NOTHROW(check(R"({"lora": {}})", false));
  auto dropping = made<Unet>(R"({"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "num_channels": [4, 8],
    "num_res_blocks": 1, "attention_levels": [false, false], "norm_num_groups": 2, "dropout_cattn": 0.1})");
  CHECK_THROWS_WITH(UnetTrainer::check(dropping, "{}", {}), Contains("dropout_cattn of the network is 0.1"));
}

TEST_CASE("trainers: dropped modalities become general, then unknown", "[unit][maisi]") {
  TestHost host;
  auto unet = made<Unet>(R"({"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "num_channels": [4, 8],
    "num_res_blocks": 1, "attention_levels": [false, false], "norm_num_groups": 2, "num_class_embeds": 16})");
  fill(unet.network());
  const auto loss = [&](double dropout, float first, float second, std::initializer_list<float> codes) {
    host.noise = [&](at::IntArrayRef shape) {
      at::Tensor draws = at::empty(shape);
      draws.select(1, 0).fill_(first);
      draws.select(1, 1).fill_(second);
      return draws;
    };
    at::Tensor labels = at::empty({static_cast<std::int64_t>(codes.size())});
    std::copy(codes.begin(), codes.end(), labels.mutable_data_ptr<float>());
    const Given given({{"x", at::ones({2, 2, 4, 4, 2})},
                       {"timesteps", at::ones({2}).mul(10)},
                       {"target", at::zeros({2, 2, 4, 4, 2})},
                       {"class_labels", labels}});
    return host
        .call([&](const sdk::Context& context, sdk::Outputs& out) {
          const std::string options = R"({"modality_dropout": )" + std::to_string(dropout) + "}";
          UnetTrainer(unet, context, options, {}).step(context, given.binds(), out);
        })
        .at("loss")
        .item<double>();
  };
  const double specific = loss(0, 0, 0, {3, 9});
  CHECK(loss(0.1, 0.5F, 0.5F, {3, 9}) == specific);                // neither is drawn
  CHECK(loss(0.1, 0.05F, 0.5F, {3, 9}) == loss(0, 0, 0, {1, 8}));  // CT, MR
  CHECK(loss(0.1, 0.05F, 0.5F, {0, 8}) == loss(0, 0, 0, {0, 8}));  // already general
  CHECK(loss(0.1, 0.5F, 0.05F, {3, 9}) == loss(0, 0, 0, {0, 0}));  // unknown
  CHECK(loss(0.1, 0.05F, 0.5F, {3, 9}) != Approx(specific).epsilon(1e-6));
}

TEST_CASE("trainers: modalities are dropped in training alone, and only where the network knows any", "[unit][maisi]") {
  TestHost host;
  host.noise = [](at::IntArrayRef shape) { return at::zeros(shape); };  // everything is drawn
  auto unet = made<Unet>(R"({"spatial_dims": 3, "in_channels": 2, "out_channels": 2, "num_channels": [4, 8],
    "num_res_blocks": 1, "attention_levels": [false, false], "norm_num_groups": 2, "num_class_embeds": 16})");
  fill(unet.network());
  const Given given({{"x", at::ones({2, 2, 4, 4, 2})},
                     {"timesteps", at::ones({2}).mul(10)},
                     {"target", at::zeros({2, 2, 4, 4, 2})},
                     {"class_labels", at::ones({2}).mul(9)}});
  const auto loss = [&](const char* options, bool learns) {
    const Tensors out = host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
      UnetTrainer trainer(unet, context, options, {});
      learns ? trainer.step(context, given.binds(), outputs) : trainer.evaluate(context, given.binds(), outputs);
    });
    return out.at("loss").item<double>();
  };
  CHECK(loss(R"({"modality_dropout": 0.5})", false) == loss("{}", false));
  CHECK(loss(R"({"modality_dropout": 0.5})", true) != loss("{}", true));
  Pair pair;
  CHECK_THROWS_WITH(pair.trainer(R"({"modality_dropout": 0.1})"), Contains("num_class_embeds"));
}

TEST_CASE("trainers: only adapters learn, and before their first step nothing changes", "[unit][maisi]") {
  Pair pair;
  fill(pair.unet.network());
  pair.controlnet.network().initialize(8);
  const Tensors before = values_of(pair.unet.network());
  UnetTrainer plain = pair.trainer("{}");
  const Tensors tensors = batch();
  const double loss = pair.step(plain, tensors);
  UnetTrainer trainer = pair.trainer(R"({"lora": {"rank": 2}})", false);
  CHECK(pair.step(trainer, tensors) == Approx(loss).epsilon(1e-6));
  const auto saved = [&] {
    Tensors weights;
    pair.host.call([&](const sdk::Context& context, sdk::Outputs&) {
      weights = saved_by([&](const sdk::StateSink& to) { trainer.save(context, MEDGEN_TRAIN_WEIGHTS, to); });
    });
    return weights;
  };
  const Tensors start = saved();
  for (const auto& [name, value] : start) CHECK_THAT(name, Contains(".lora_A") || Contains(".lora_B"));
  for (int i = 0; i < 3; ++i) {
    pair.apply(trainer, 1e-2);
    pair.step(trainer, tensors);
  }
  CHECK_FALSE(equal(saved(), start));
  for (const auto& [name, value] : values_of(pair.unet.network())) {
    INFO(name);
    const bool adapted = start.contains("weights/" + name.substr(0, name.rfind('.')) + ".lora_A");
    CHECK(value.equal(before.at(name)) == !(adapted && name.ends_with(".weight")));
  }
}

}  // namespace medgen::maisi
