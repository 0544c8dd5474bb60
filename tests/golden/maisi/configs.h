// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>

#include <string>

// The network configurations behind tests/golden/maisi: "full" as released, "small" with fewer channels.

namespace medgen::maisi::golden {

using nlohmann::json;

inline json autoencoder(bool full) {
  return {{"spatial_dims", 3},
          {"in_channels", 1},
          {"out_channels", 1},
          {"latent_channels", 4},
          {"num_channels", full ? json{64, 128, 256} : json{16, 32, 64}},
          {"num_res_blocks", {2, 2, 2}},
          {"norm_num_groups", full ? 32 : 8},
          {"norm_eps", 1e-6},
          {"attention_levels", {false, false, false}},
          {"norm_float16", true},
          {"num_splits", 8},
          {"dim_split", 1}};
}

inline json mask_autoencoder(bool full) {
  return {{"spatial_dims", 3},
          {"in_channels", 8},
          {"out_channels", 125},
          {"latent_channels", 4},
          {"num_channels", full ? json{32, 64, 128} : json{8, 16, 32}},
          {"num_res_blocks", {1, 2, 2}},
          {"norm_num_groups", full ? 32 : 8},
          {"norm_eps", 1e-6},
          {"attention_levels", {false, false, false}},
          {"use_convtranspose", true}};
}

/// What every diffusion network of MAISI shares. rflow has residual down- and upsampling and output projections.
inline json backbone(bool full, bool rflow) {
  json config = {{"spatial_dims", 3},
                 {"in_channels", 4},
                 {"num_channels", full ? json{64, 128, 256, 512} : json{16, 32, 64, 64}},
                 {"num_res_blocks", 2},
                 {"attention_levels", {false, false, true, true}},
                 {"num_head_channels", full ? json{0, 0, 32, 32} : json{0, 0, 16, 16}},
                 {"norm_num_groups", full ? 32 : 8},
                 {"norm_eps", 1e-6},
                 {"use_flash_attention", true}};
  if (rflow) config.update({{"resblock_updown", true}, {"include_fc", true}, {"num_class_embeds", 128}});
  return config;
}

inline json unet(bool full, bool rflow) {
  json config = backbone(full, rflow);
  config.update({{"out_channels", 4},
                 {"include_top_region_index_input", !rflow},
                 {"include_bottom_region_index_input", !rflow},
                 {"include_spacing_input", true}});
  return config;
}

inline json controlnet(bool full, bool rflow) {
  json config = backbone(full, rflow);
  config.update({{"conditioning_embedding_in_channels", 8},
                 {"conditioning_embedding_num_channels", full ? json{8, 32, 64} : json{8, 16, 32}}});
  return config;
}

inline json mask_unet(bool full) {
  json config = backbone(full, false);
  config["channels"] = config["num_channels"];
  config.erase("num_channels");
  config.update({{"out_channels", 4},
                 {"with_conditioning", true},
                 {"cross_attention_dim", 10},
                 {"transformer_num_layers", 1},
                 {"upcast_attention", true},
                 {"include_fc", true}});
  return config;
}

inline json discriminator(bool full) {
  return {{"spatial_dims", 3}, {"num_layers_d", 3}, {"channels", full ? 32 : 8},
          {"in_channels", 1},  {"out_channels", 1}, {"norm", "INSTANCE"}};
}

}  // namespace medgen::maisi::golden
