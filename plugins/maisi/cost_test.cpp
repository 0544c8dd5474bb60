// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/cost.h"

#include "plugins/maisi/networks/controlnet_maisi.h"
#include "plugins/maisi/networks/diffusion_model_unet.h"
#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/kept_weights.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/winograd.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace medgen::maisi {
namespace {

using nlohmann::json;

const bool kHasBfloat16 = nn::product_type(at::kBFloat16, at::kCPU) == at::kBFloat16;

DiffusionModelUNetMaisiConfig unet_config() {
  return DiffusionModelUNetMaisiConfig::from_json({{"spatial_dims", 3},
                                                   {"in_channels", 4},
                                                   {"out_channels", 4},
                                                   {"num_channels", {64, 128, 256, 512}},
                                                   {"num_res_blocks", 2},
                                                   {"attention_levels", {false, false, true, true}},
                                                   {"num_head_channels", {0, 0, 32, 32}},
                                                   {"resblock_updown", true},
                                                   {"include_fc", true}});
}

ControlNetMaisiConfig controlnet_config() {
  return ControlNetMaisiConfig::from_json({{"spatial_dims", 3},
                                           {"in_channels", 4},
                                           {"num_channels", {64, 128, 256, 512}},
                                           {"num_res_blocks", 2},
                                           {"attention_levels", {false, false, true, true}},
                                           {"num_head_channels", {0, 0, 32, 32}},
                                           {"resblock_updown", true},
                                           {"include_fc", true},
                                           {"conditioning_embedding_in_channels", 8},
                                           {"conditioning_embedding_num_channels", {8, 32, 64}}});
}

/// Of two levels, one block each.
DiffusionModelUNetMaisiConfig small_unet(std::int64_t ends, const std::vector<std::int64_t>& channels) {
  return DiffusionModelUNetMaisiConfig::from_json({{"spatial_dims", 3},
                                                   {"in_channels", ends},
                                                   {"out_channels", ends},
                                                   {"num_channels", channels},
                                                   {"num_res_blocks", 1},
                                                   {"attention_levels", {false, false}},
                                                   {"num_head_channels", {0, 32}},
                                                   {"resblock_updown", true}});
}

TEST_CASE("the operations of a small U-Net are those of its layers, one by one", "[unit][maisi]") {
  const auto config = small_unet(1, {32, 32});
  const double fine = 64, coarse = 8;  // voxels
  const double conv = 2.0 * 27 * 32 * 32, wide = 2.0 * 27 * 64 * 32, skip = 2.0 * 64 * 32, ends = 2.0 * 27 * 32;
  const double down = 2 * conv * (fine + coarse + coarse);
  const double middle = 4 * conv * coarse + (8.0 * 32 * 32 + 4 * coarse * 32) * coarse;
  const double up = 2 * (wide + conv + skip) * (coarse + fine) + 2 * conv * fine;
  CHECK(unet_cost(config, 1, {4, 4, 4}, at::kFloat, false).flops == ends * fine + down + middle + up + ends * fine);
}

TEST_CASE("operations and memory grow with the volume, memory with the precision", "[unit][maisi]") {
  const auto small = unet_cost(unet_config(), 4, {16, 16, 16}, at::kBFloat16, false);
  const auto large = unet_cost(unet_config(), 4, {32, 32, 32}, at::kBFloat16, false);
  const auto fp32 = unet_cost(unet_config(), 4, {32, 32, 32}, at::kFloat, false);
  CHECK(large.flops >= 8 * small.flops);
  CHECK(large.peak_bytes == Approx(8 * small.peak_bytes));
  CHECK(fp32.peak_bytes <= 2 * large.peak_bytes);  // sums and the last layer are float32 in any precision
  CHECK(fp32.peak_bytes > (kHasBfloat16 ? 1.5 : 1.0) * large.peak_bytes);  // else computed in float32, layer by layer
  CHECK(fp32.flops == large.flops);
  CHECK(unet_cost(unet_config(), 4, {32, 32, 32}, at::kFloat, true).peak_bytes >= fp32.peak_bytes);
}

TEST_CASE("the ControlNet costs less operations than its U-Net, and its condition more memory", "[unit][maisi]") {
  const auto unet = unet_cost(unet_config(), 4, {32, 32, 32}, at::kBFloat16, false);
  const auto control = controlnet_cost(controlnet_config(), {32, 32, 32}, at::kBFloat16);
  CHECK(control.flops < unet.flops);
  CHECK(control.known_bytes >= 4 * (4.0 * 8 * 128 * 128 * 128));  // as many conditions as are kept
  CHECK(control.peak_bytes >= 2.0 * 2 * 8 * 128 * 128 * 128);
}

TEST_CASE("weights are packed for small maps in bfloat16, and otherwise taken as they lie", "[unit][maisi]") {
  const auto cost = [](std::int64_t length, at::ScalarType type = at::kBFloat16) {
    return unet_cost(unet_config(), 4, {length, length, length}, type, false);
  };
  const double element = kHasBfloat16 ? 2.0 : 4.0;
  const bool transforms = nn::prefers_winograd({3, 512, 512}, at::kBFloat16);
  const double doubled = element * 64 * (128.0 * 128 + 256 * 256 + 512 * 512);
  CHECK(cost(512).packed_bytes == (transforms ? 0 : doubled));
  CHECK((cost(512).scratch_bytes > cost(16).scratch_bytes) == transforms);
  CHECK(cost(8, at::kFloat).packed_bytes == (nn::has_brgemm() ? doubled * 4 / element : doubled));
  const bool gathers = nn::has_brgemm() && !kHasBfloat16;
  CHECK((cost(8).packed_bytes == doubled) == gathers);
  CHECK((cost(8).scratch_bytes > 0) == gathers);
  if (gathers) return;
  CHECK(cost(32).packed_bytes > cost(512).packed_bytes);
  CHECK(cost(16).packed_bytes > cost(32).packed_bytes);
  CHECK(cost(8).packed_bytes >= cost(16).packed_bytes);
}

TEST_CASE("transformed weights are counted as a pass keeps them", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  const std::vector<std::int64_t> spatial =
      GENERATE(std::vector<std::int64_t>{8, 16, 16}, std::vector<std::int64_t>{4, 32, 36},
               std::vector<std::int64_t>{4, 96, 96}, std::vector<std::int64_t>{4, 8, 8});
  const auto config = small_unet(3, {32, 64});
  DiffusionModelUNetMaisi network(config);
  network.initialize(1);
  UnetInputs inputs;
  inputs.x = at::zeros({1, 3, spatial[0], spatial[1], spatial[2]});
  inputs.timesteps = at::zeros({1});
  nn::KeptWeights kept(nn::KeptWeights::most_bytes(0));
  const nn::KeptWeights::Use use(kept);
  network.forward(inputs);
  CHECK(static_cast<double>(kept.bytes()) == unet_cost(config, 3, spatial, at::kFloat, false).filtered_bytes);
  const auto first = kept.bytes();
  network.forward(inputs);
  CHECK(kept.bytes() == first);
}

TEST_CASE("residuals have the shapes that the U-Net wants", "[unit][maisi]") {
  const auto shapes = residual_shapes(controlnet_config(), {2, 4, 32, 16, 8});
  REQUIRE(shapes.size() == 13);
  CHECK(shapes.front() == std::pair{std::string("down0"), std::vector<std::int64_t>{2, 64, 32, 16, 8}});
  CHECK(shapes[3].second == std::vector<std::int64_t>{2, 64, 16, 8, 4});
  CHECK(shapes[11].second == std::vector<std::int64_t>{2, 512, 4, 2, 1});
  CHECK(shapes.back() == std::pair{std::string("mid"), std::vector<std::int64_t>{2, 512, 4, 2, 1}});
}

/// A ControlNet of three levels.
ControlNetMaisiConfig small_controlnet(bool resblock_updown) {
  return ControlNetMaisiConfig::from_json({{"spatial_dims", 3},
                                           {"in_channels", 2},
                                           {"num_channels", {4, 8, 8}},
                                           {"num_res_blocks", 1},
                                           {"attention_levels", {false, false, true}},
                                           {"norm_num_groups", 2},
                                           {"num_head_channels", {0, 0, 4}},
                                           {"resblock_updown", resblock_updown},
                                           {"conditioning_embedding_in_channels", 1},
                                           {"conditioning_embedding_num_channels", {3, 4}}});
}

TEST_CASE("residuals have the shapes that the ControlNet gives, odd lengths included", "[unit][maisi]") {
  const at::NoGradGuard no_grad;
  const ControlNetMaisiConfig config = small_controlnet(GENERATE(false, true));
  ControlNetMaisi network(config);
  network.initialize(1);
  ControlNetInputs inputs;
  inputs.x = at::zeros({1, 2, 7, 11, 6});
  inputs.timesteps = at::zeros({1});
  inputs.controlnet_cond = at::zeros({1, 1, 14, 22, 12});
  ControlNetResiduals given = network.forward(inputs);
  given.down.push_back(given.mid);
  const auto expected = residual_shapes(config, inputs.x.sizes().vec());
  REQUIRE(given.down.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(given.down[i].sizes() == expected[i].second);
}

TEST_CASE("a last odd voxel costs nothing where means of two drop it, and something where a convolution keeps it",
          "[unit][maisi]") {
  const auto deepest = [](bool resblock_updown, std::int64_t length) {
    return residual_shapes(small_controlnet(resblock_updown), {1, 2, length, 4, 4}).back().second[2];
  };
  CHECK(deepest(true, 7) == deepest(true, 4));
  CHECK(deepest(false, 7) == deepest(false, 8));
  const auto flops = [](bool resblock_updown, std::int64_t length) {
    const std::vector<std::int64_t> spatial{length, 4, 4};
    return controlnet_cost(small_controlnet(resblock_updown), spatial, at::kFloat).flops;
  };
  const auto growth = [&](bool resblock_updown) { return flops(resblock_updown, 5) - flops(resblock_updown, 4); };
  CHECK(growth(false) > growth(true));
}

TEST_CASE("the machine computes something in a second", "[unit][maisi]") {
  const double rate = measured_rate(at::kFloat);
  CHECK(rate > 1e8);
  CHECK(measured_rate(at::kFloat) == rate);
}

TEST_CASE("a request that makes no sense is refused", "[unit][maisi]") {
  CHECK(requested_shape(json::parse(R"({"inputs": {"x": [1, 4, 8, 8, 8]}})"), "x").size() == 5);
  CHECK_THROWS(requested_shape(json::parse(R"({"inputs": {}})"), "x"));
  CHECK_THROWS(requested_shape(json::parse(R"({"inputs": {"x": [1, 4]}})"), "x"));
  CHECK_THROWS(requested_shape(json::parse(R"({"inputs": {"x": "large"}})"), "x"));
  CHECK_THROWS(requested_shape(json::parse(R"({})"), "x"));
}

}  // namespace
}  // namespace medgen::maisi
