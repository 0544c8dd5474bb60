// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/training_cost.h"

#include <medgen/sdk/sdk.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

using nlohmann::json;

AutoencoderKlMaisiConfig vae() {
  return AutoencoderKlMaisiConfig::from_json({{"spatial_dims", 3},
                                              {"in_channels", 1},
                                              {"out_channels", 1},
                                              {"num_channels", {32, 64}},
                                              {"num_res_blocks", {1, 1}},
                                              {"norm_num_groups", 32},
                                              {"attention_levels", {false, false}}});
}

json backbone() {
  return {{"spatial_dims", 3},      {"in_channels", 4},      {"num_channels", {32, 64}},
          {"num_res_blocks", 1},    {"norm_num_groups", 32}, {"attention_levels", {false, true}},
          {"num_head_channels", 32}};
}

DiffusionModelUNetMaisiConfig unet() {
  json config = backbone();
  config["out_channels"] = 4;
  return DiffusionModelUNetMaisiConfig::from_json(config);
}

TrainingSetup setup(const json& options = json::object(), std::int64_t edge = 16, std::int64_t batch = 1) {
  const json request = {{"inputs", {{"x", {batch, 1, edge, edge, edge}}}},
                        {"options", options.is_null() ? json::object() : options}};
  return TrainingSetup::read(request, at::kFloat);
}

double both(const TrainingSetup& of) {
  return training_bytes(vae(), of) + training_bytes(unet(), 4, of);
}

TEST_CASE("a training takes more for larger patches and batches, and the weights' gradients at least",
          "[unit][maisi]") {
  for (const auto& bytes : {+[](const TrainingSetup& of) { return training_bytes(vae(), of); },
                            +[](const TrainingSetup& of) { return training_bytes(unet(), 4, of); }}) {
    const double one = bytes(setup());
    CHECK(bytes(setup({}, 32)) > 4 * one);
    CHECK(bytes(setup({}, 32)) < 8.01 * one);
    CHECK(bytes(setup({}, 16, 2)) > 1.2 * one);
    CHECK(bytes(setup({}, 64)) == Approx(bytes(setup({}, 32, 8))));
  }
  const double gradients = 4.0 * (27 * (32 + 2 * 32 * 32));  // of the first layers alone
  CHECK(training_bytes(vae(), setup({}, 2)) > gradients);
}

TEST_CASE("narrow and recomputed activations take less", "[unit][maisi]") {
  const double full = both(setup({}, 32));
  CHECK(both(setup({{"precision", "bf16"}}, 32)) < 0.6 * full);
  CHECK(both(setup({{"checkpoint_activations", true}}, 32)) < 0.75 * full);
  const double narrow = both(setup({{"precision", "bf16"}}, 32));
  CHECK(both(setup({{"precision", "bf16"}, {"checkpoint_activations", true}}, 32)) < narrow);
}

TEST_CASE("gradients that wait for the next batch are there from the beginning", "[unit][maisi]") {
  TrainingSetup waiting = setup();
  waiting.gradients_stay = true;
  CHECK(both(waiting) > both(setup()));
}

TEST_CASE("a frozen network keeps less than one that learns, a ControlNet less when it computes its condition again",
          "[unit][maisi]") {
  TrainingSetup frozen = setup();
  frozen.learns = false;
  CHECK(training_bytes(unet(), 4, frozen) < 0.9 * training_bytes(unet(), 4, setup()));
  json net = backbone();
  net.update({{"conditioning_embedding_in_channels", 8}, {"conditioning_embedding_num_channels", {8, 16}}});
  const auto controlnet = ControlNetMaisiConfig::from_json(net);
  CHECK(training_bytes(controlnet, setup()) > 0);
  CHECK(training_bytes(controlnet, setup({{"checkpoint_activations", true}}, 32)) <
        0.75 * training_bytes(controlnet, setup({}, 32)));
}

TEST_CASE("what a trainer holds: weights, moments, averages", "[unit][maisi]") {
  const json plain = training_reply(5, 100, setup());
  CHECK(plain["peak_bytes"] == 5 + kTrainingScratch);
  CHECK(plain["weights_bytes"] == 1200);
  CHECK(plain["scratch_bytes"] == 0);
  CHECK(plain["copied_bytes"] == 400);
  CHECK(plain["precision"] == "fp32");
  CHECK(training_reply(5, 100, setup({{"ema", 0.9}}))["weights_bytes"] == 1600);
  const json on_disk = training_reply(5, 100, setup({{"ema", 0.9}, {"optimizer_state", "disk"}}));
  CHECK(on_disk["weights_bytes"] == 400);
  CHECK(on_disk["scratch_bytes"] == 1200);
  CHECK(on_disk["copied_bytes"] == 400);
  TrainingSetup frozen = setup({{"ema", 0.9}, {"precision", "fp16"}});
  frozen.learns = false;
  CHECK(training_reply(5, 100, frozen)["weights_bytes"] == 400);
  CHECK(training_reply(5, 100, frozen)["copied_bytes"] == 0);
  CHECK(training_reply(5, 100, frozen)["precision"] == "fp16");
}

TEST_CASE("losses of other networks come on top", "[unit][maisi]") {
  CHECK(adversary_bytes(1, setup({}, 32)) > adversary_bytes(1, setup()));
  CHECK(perceptual_bytes(0.4, setup()) == Approx(2 * perceptual_bytes(0.2, setup())));
}

TEST_CASE("a request without a patch is refused", "[unit][maisi]") {
  CHECK_THROWS_AS(TrainingSetup::read({{"inputs", json::object()}}, at::kFloat), sdk::Error);
  CHECK_THROWS_AS(TrainingSetup::read({{"inputs", {{"x", {1, 1, 8}}}}}, at::kFloat), sdk::Error);
  CHECK_THROWS(TrainingSetup::read(json::object(), at::kFloat));
}

}  // namespace
}  // namespace medgen::maisi
