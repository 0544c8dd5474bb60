// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/autoencoder_trainer.h"

#include "plugins/maisi/autoencoder.h"
#include "plugins/maisi/perceptual_network.h"
#include "plugins/support/test_call.h"

#include <ATen/core/grad_mode.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

#include <limits>
#include <optional>

namespace medgen::maisi {
namespace {

using Catch::Matchers::Contains;
using support::testing::Given;
using support::testing::made;
using support::testing::Restored;
using support::testing::saved_by;
using support::testing::Tensors;
using support::testing::TestHost;

constexpr std::uint32_t kAll = MEDGEN_TRAIN_WEIGHTS | MEDGEN_TRAIN_EMA | MEDGEN_TRAIN_OPTIMIZER;

constexpr const char* kImages = R"({"spatial_dims": 3, "in_channels": 1, "out_channels": 1, "num_channels": [4, 8],
  "num_res_blocks": 1, "attention_levels": [false, true], "latent_channels": 2, "norm_num_groups": 2})";
constexpr const char* kLabels = R"({"spatial_dims": 3, "in_channels": 8, "out_channels": 3, "num_channels": [4, 8],
  "num_res_blocks": 1, "attention_levels": [false, false], "latent_channels": 2, "norm_num_groups": 2,
  "use_convtranspose": true, "classes": [0, 200, 5]})";

/// Numbers that depend on the shape alone.
at::Tensor numbers(at::IntArrayRef shape) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(7));
}

/// A small VAE with its trainer, and a feature network with random weights.
struct Fixture {
  TestHost host;
  Autoencoder vae;
  PerceptualNetwork features = made<PerceptualNetwork>("{}");
  std::optional<AutoencoderTrainer> trainer;

  explicit Fixture(const char* options, const char* config = kImages, bool with_features = true)
      : vae(made<Autoencoder>(config)) {
    host.noise = numbers;
    features.network().initialize(3);
    {  // small images through small random weights leave nothing to compare
      const at::NoGradGuard no_grad;
      for (const auto& [name, parameter] : features.network().parameters()) parameter->value.abs_().add_(0.01);
    }
    const sdk::TrainPeer peer{"perceptual", sdk::detail::handle(&features), false};
    host.call([&](const sdk::Context& context, sdk::Outputs&) {
      trainer.emplace(vae, context, options, std::span(&peer, with_features ? 1 : 0));
    });
  }

  Tensors step(const Tensors& batch) {
    const Given given(batch);
    return host.call(
        [&](const sdk::Context& context, sdk::Outputs& out) { trainer->step(context, given.binds(), out); });
  }

  void apply(double rate = 1e-2) {
    host.call([&](const sdk::Context& context, sdk::Outputs&) { trainer->apply(context, rate); });
  }

  Tensors saved(std::uint32_t what) {
    Tensors all;
    host.call([&](const sdk::Context& context, sdk::Outputs&) {
      all = saved_by([&](const sdk::StateSink& to) { trainer->save(context, what, to); });
    });
    return all;
  }

  void load(const Tensors& state) {
    const Restored given(state);
    host.call([&](const sdk::Context& context, sdk::Outputs&) { trainer->load(context, kAll, given.source()); });
  }
};

Tensors images() {
  return {{"x", at::rand({2, 1, 24, 24, 26}, at::make_generator<at::CPUGeneratorImpl>(1))}};
}

Tensors label_maps() {
  at::Tensor map = at::zeros({2, 1, 8, 8, 4});
  map.narrow(2, 0, 4).fill_(200);
  map.narrow(3, 0, 3).fill_(5);
  return {{"x", map}};
}

double value(const Tensors& out, const char* name) {
  return out.at(name).item<double>();
}

bool equal(const Tensors& a, const Tensors& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.first == y.first && x.second.equal(y.second); });
}

}  // namespace

TEST_CASE("VAE training: the loss is the weighted sum of its terms", "[unit][maisi]") {
  Fixture f(R"({"kl_weight": 0.25, "perceptual_weight": 2, "adversarial_weight": 3})");
  const Tensors out = f.step(images());
  CHECK(value(out, "kl") > 0);
  CHECK(value(out, "loss") == Approx(value(out, "l1") + 0.25 * value(out, "kl") + 2 * value(out, "perceptual") +
                                     3 * value(out, "adversarial"))
                                  .epsilon(1e-6));
  CHECK(value(out, "discriminator") > 0);
}

TEST_CASE("VAE training: weights are not compared by what the discriminator thinks of them", "[unit][maisi]") {
  Fixture f(R"({"kl_weight": 0.25, "perceptual_weight": 2, "adversarial_weight": 3})");
  const Given given(images());
  const Tensors out = f.host.call([&](const sdk::Context& context, sdk::Outputs& outputs) {
    f.trainer->evaluate(context, given.binds(), outputs);
  });
  CHECK(value(out, "adversarial") > 0);
  CHECK(value(out, "loss") ==
        Approx(value(out, "l1") + 0.25 * value(out, "kl") + 2 * value(out, "perceptual")).epsilon(1e-6));
}

TEST_CASE("VAE training: terms of no weight are not computed, and L2 is mean squares", "[unit][maisi]") {
  Fixture f(R"({"loss": "l2", "kl_weight": 0.5})");
  const Tensors out = f.step(images());
  REQUIRE(out.size() == 3);
  CHECK(value(out, "loss") == Approx(value(out, "l2") + 0.5 * value(out, "kl")));
  CHECK(f.saved(MEDGEN_TRAIN_OPTIMIZER).count("optimizer/discriminator/optimizer/step") == 0);
}

TEST_CASE("VAE training: the discriminator waits for its start", "[unit][maisi]") {
  Fixture f(R"({"adversarial_weight": 1, "adversarial_start": 1})");
  const auto discriminator = [&] {
    return f.saved(MEDGEN_TRAIN_OPTIMIZER).at("optimizer/discriminator/weights/initial_conv.conv.weight");
  };
  const at::Tensor before = discriminator();
  CHECK(f.step(images()).count("adversarial") == 0);
  f.apply();
  CHECK(discriminator().equal(before));
  CHECK(f.step(images()).count("adversarial") == 1);
  f.apply();
  CHECK_FALSE(discriminator().equal(before));
}

TEST_CASE("VAE training: the discriminator's rate is relative to the autoencoder's", "[unit][maisi]") {
  const auto moved = [](const char* options) {
    Fixture f(options);
    const std::string name = "optimizer/discriminator/weights/final_conv.conv.weight";
    const at::Tensor before = f.saved(MEDGEN_TRAIN_OPTIMIZER).at(name);
    f.step(images());
    f.apply(1e-3);
    return (f.saved(MEDGEN_TRAIN_OPTIMIZER).at(name) - before).abs().max().item<double>();
  };
  CHECK(moved(R"({"adversarial_weight": 1})") == Approx(1e-3).epsilon(1e-2));
  CHECK(moved(R"({"adversarial_weight": 1, "discriminator_rate": 4})") == Approx(4e-3).epsilon(1e-2));
}

TEST_CASE("VAE training: it learns to tell made from real, and leaves no gradients behind", "[unit][maisi]") {
  Fixture f(R"({"adversarial_weight": 1e-3})");
  const double first = value(f.step(images()), "discriminator");
  f.apply(1e-4);
  double last = first;
  for (int i = 0; i < 6; ++i) {
    last = value(f.step(images()), "discriminator");
    f.apply(1e-4);
  }
  CHECK(last < first);
}

TEST_CASE("VAE training: resumed from a checkpoint it ends with the same bits", "[unit][maisi]") {
  const char* const options = R"({"adversarial_weight": 0.5, "perceptual_weight": 0.5, "ema": 0.9})";
  Fixture whole(options), resumed(options);
  const auto iterate = [](Fixture& f) {
    const Tensors out = f.step(images());
    f.apply();
    return out;
  };
  iterate(whole);
  const Tensors checkpoint = whole.saved(kAll);
  resumed.load(checkpoint);
  CHECK(equal(iterate(whole), iterate(resumed)));
  CHECK(equal(whole.saved(kAll), resumed.saved(kAll)));
}

TEST_CASE("VAE training: a checkpoint without its discriminator is refused", "[unit][maisi]") {
  Fixture without("{}"), with(R"({"adversarial_weight": 1})");
  CHECK_THROWS_WITH(with.load(without.saved(kAll)), Contains("optimizer/discriminator/"));
}

TEST_CASE("VAE training: what is saved as weights is the model alone", "[unit][maisi]") {
  Fixture plain("{}"), adversarial(R"({"adversarial_weight": 1})");
  CHECK(equal(plain.saved(MEDGEN_TRAIN_WEIGHTS), adversarial.saved(MEDGEN_TRAIN_WEIGHTS)));
}

TEST_CASE("VAE training: checkpointed activations change no bit", "[unit][maisi]") {
  const auto gradients = [](const char* options) {
    Fixture f(options);
    f.step(images());
    return f.saved(MEDGEN_TRAIN_GRADIENTS);
  };
  const Tensors kept = gradients(R"({"adversarial_weight": 1})");
  CHECK(equal(gradients(R"({"adversarial_weight": 1, "checkpoint_activations": true})"), kept));
  CHECK(kept.count("gradients/encoder.blocks.1.conv1.conv.conv.weight") == 1);
  CHECK(kept.count("discriminator/gradients/initial_conv.conv.weight") == 1);
}

TEST_CASE("VAE training: the perceptual loss looks at the slices that the batch names", "[unit][maisi]") {
  Fixture f(R"({"perceptual_weight": 1, "perceptual_slices": 1})");
  Tensors batch = images();
  const double all = value(f.step(batch), "perceptual");
  batch["slices.x"] = batch["slices.y"] = at::arange(48);
  batch["slices.z"] = at::arange(52);
  CHECK(value(f.step(batch), "perceptual") == Approx(all).epsilon(1e-5));
  batch["slices.z"] = at::zeros({1});
  CHECK(value(f.step(batch), "perceptual") != Approx(all).epsilon(1e-5));
  batch["slices.x"] = at::zeros({1}).add(48);
  CHECK_THROWS_WITH(f.step(batch), Contains("from 0 to 47"));
}

TEST_CASE("VAE training: fp16 scales the loss, and its gradients are near those of fp32", "[unit][maisi]") {
  const auto gradient = [](const char* options) {
    Fixture f(options);
    f.step(images());
    return f.saved(MEDGEN_TRAIN_GRADIENTS).at("gradients/decoder.blocks.1.conv1.conv.conv.weight");
  };
  const at::Tensor want = gradient("{}");
  const at::Tensor got = gradient(R"({"precision": "fp16"})");
  CHECK((got - want).norm().item<double>() < 0.05 * want.norm().item<double>());
  Fixture f(R"({"precision": "fp16"})");
  CHECK(f.saved(MEDGEN_TRAIN_OPTIMIZER).at("optimizer/loss_scale")[0].item<double>() == 256);
}

TEST_CASE("VAE training: of label maps the loss is cross-entropy, which falls", "[unit][maisi]") {
  Fixture f("{}", kLabels, false);
  const Tensors batch = label_maps();
  const Tensors out = f.step(batch);
  CHECK(value(out, "loss") == Approx(value(out, "cross_entropy") + 1e-7 * value(out, "kl")));
  double last = value(out, "cross_entropy");
  f.apply();
  for (int i = 0; i < 10; ++i) {
    last = value(f.step(batch), "cross_entropy");
    f.apply();
  }
  CHECK(last < 0.7 * value(out, "cross_entropy"));
}

TEST_CASE("VAE training: label maps go through the trained network as label maps", "[unit][maisi]") {
  Fixture f("{}", kLabels, false);
  const Given given(label_maps());
  const Tensors latent =
      f.host.call([&](const sdk::Context& context, sdk::Outputs& out) { f.vae.encode(context, given.binds(), out); });
  const Given z({{"z", latent.at("mean")}});
  const at::Tensor labels =
      f.host.call([&](const sdk::Context& context, sdk::Outputs& out) { f.vae.decode(context, z.binds(), out); })
          .at("x");
  CHECK(labels.sizes() == at::IntArrayRef({2, 1, 8, 8, 4}));
  CHECK(((labels == 0) | (labels == 5) | (labels == 200)).all().item<bool>());
}

TEST_CASE("VAE training: what cannot be trained is refused", "[unit][maisi]") {
  CHECK_THROWS_WITH(Fixture(R"({"perceptual_weight": 1})", kImages, false), Contains("no feature network"));
  CHECK_THROWS_WITH(Fixture(R"({"adversarial_weight": 1})", kLabels), Contains("without adversarial"));
  CHECK_THROWS_WITH(Fixture(R"({"loss": "l2"})", kLabels), Contains("cross-entropy"));
  CHECK_NOTHROW(Fixture(R"({"loss": "l1"})", kLabels));
  CHECK_THROWS_WITH(Fixture("{}", R"({"spatial_dims": 3, "in_channels": 8, "out_channels": 3, "num_channels": [4],
    "num_res_blocks": 1, "attention_levels": [false], "norm_num_groups": 2})"),
                    Contains("\"classes\""));
  CHECK_THROWS_WITH(made<Autoencoder>(R"({"spatial_dims": 3, "in_channels": 8, "out_channels": 3, "num_channels": [4],
    "num_res_blocks": 1, "attention_levels": [false], "norm_num_groups": 2, "classes": [1]})"),
                    Contains("out_channels"));
}

namespace {

/// An exchange of gradients that spoils those of the second network.
struct Spoiling {
  static inline int finished = 0;

  static double share(const medgen_context_t*) noexcept { return 1; }

  static medgen_status_t begin_sum(const medgen_context_t*, medgen_tensor_t* tensor) noexcept {
    if (finished > 0) static_cast<float*>(tensor->data)[0] = std::numeric_limits<float>::infinity();
    return MEDGEN_OK;
  }

  static medgen_status_t finish(const medgen_context_t*) noexcept {
    ++finished;
    return MEDGEN_OK;
  }
};

}  // namespace

TEST_CASE("VAE training: where the discriminator's gradients are not finite nothing moves", "[unit][maisi]") {
  Fixture f(R"({"adversarial_weight": 1})");
  f.step(images());
  f.apply();
  const Tensors before = f.saved(kAll);
  const medgen_gradients_t table{sizeof table, 0, &Spoiling::share, &Spoiling::begin_sum, &Spoiling::finish};
  f.host.gradients = &table;
  Spoiling::finished = 0;
  f.step(images());
  REQUIRE(Spoiling::finished == 2);
  CHECK_THROWS_WITH(f.apply(), Contains("not finite"));
  CHECK(equal(f.saved(kAll), before));
}

TEST_CASE("VAE training: batches that do not fit are refused", "[unit][maisi]") {
  Fixture f("{}");
  CHECK_THROWS_WITH(f.step({}), Contains("'x' is missing"));
  CHECK_THROWS_WITH(f.step({{"x", at::rand({1, 1, 9, 8, 8})}}), Contains("multiples of 2"));
  CHECK_THROWS_WITH(f.step({{"x", at::rand({1, 1, 8, 8, 8})}, {"noise", at::rand({1, 2, 8, 8, 8})}}),
                    Contains("noise has the shape"));
  Fixture labels("{}", kLabels);
  CHECK_THROWS_WITH(labels.step({{"x", at::zeros({1, 1, 8, 8, 8}).add(7)}}), Contains("label 7"));
  Fixture adversarial(R"({"adversarial_weight": 1})");
  CHECK_THROWS_WITH(adversarial.step({{"x", at::rand({1, 1, 16, 24, 24})}}), Contains("too few"));
}

}  // namespace medgen::maisi
