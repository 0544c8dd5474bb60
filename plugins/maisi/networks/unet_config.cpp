// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/unet_config.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/config_reader.h"
#include "plugins/support/error.h"

namespace medgen::maisi {
namespace {

using support::ConfigReader;
using support::require;

void read_dropout(ConfigReader& reader, const char* network, double& dropout) {
  reader.read("dropout_cattn", dropout);
  require(dropout >= 0 && dropout <= 1, "{}: 'dropout_cattn' is {}, 0 to 1 is wanted", network, dropout);
}

/// Heads have to divide the channels wherever there is attention; the middle block always attends, with the last entry.
void check_heads(std::string_view network, const UnetConfig& c) {
  for (size_t level = 0; level < c.levels(); ++level) {
    const bool used = c.attention_levels[level] || level + 1 == c.levels();
    const int64_t head = c.num_head_channels[level];
    require(!used || (head >= 1 && c.num_channels[level] % head == 0),
            "{}: 'num_head_channels' is {} at level {}, whose {} channels it does not divide", network, head, level,
            c.num_channels[level]);
  }
}

}  // namespace

nn::AttentionOptions UnetConfig::attention(size_t level) const {
  return {.channels = num_channels[level],
          .heads = num_channels[level] / num_head_channels[level],
          .qkv_bias = !with_conditioning,
          .output_projection = include_fc,
          .combined = use_combined_linear,
          .upcast = upcast_attention};
}

void UnetConfig::read(ConfigReader& reader, const char* channels_key) {
  reader.need("spatial_dims");
  reader.need("in_channels");
  reader.read("spatial_dims", spatial_dims, 2, 3);
  reader.read("in_channels", in_channels, 1, kMostChannels);
  reader.read(channels_key, num_channels, 1, kMostChannels);
  // Defaults that stand for one number per level follow the number of levels.
  if (!reader.has("num_res_blocks")) num_res_blocks.resize(levels(), 2);
  if (!reader.has("num_head_channels")) num_head_channels.assign(levels(), 8);
  reader.read_per_level("num_res_blocks", num_res_blocks, levels(), 1, kMostBlocks);
  reader.read_per_level("num_head_channels", num_head_channels, levels(), 0, kMostChannels);
  reader.read("attention_levels", attention_levels);
  reader.read("norm_num_groups", norm_num_groups, 1, kMostChannels);
  reader.read("norm_eps", norm_eps);
  reader.read("resblock_updown", resblock_updown);
  reader.read("with_conditioning", with_conditioning);
  reader.read("transformer_num_layers", transformer_num_layers, 1, kMostBlocks);
  reader.read("cross_attention_dim", cross_attention_dim, 1, kMostChannels);
  reader.read("num_class_embeds", num_class_embeds, 1, kMostChannels);
  reader.read("upcast_attention", upcast_attention);
  reader.read("include_fc", include_fc);
  reader.read("use_combined_linear", use_combined_linear);
  reader.read("use_flash_attention", use_flash_attention);
}

void UnetConfig::validate(std::string_view network) const {
  require(levels() >= 1 && levels() <= kMostLevels, "{}: there are {} levels of channels, 1 to {} are wanted", network,
          levels(), kMostLevels);
  require(
      num_res_blocks.size() == levels() && num_head_channels.size() == levels() && attention_levels.size() == levels(),
      "{}: 'num_res_blocks' has {}, 'num_head_channels' {} and 'attention_levels' {} entries; there are {} levels",
      network, num_res_blocks.size(), num_head_channels.size(), attention_levels.size(), levels());
  check_norm(network, "num_channels", num_channels, norm_num_groups, norm_eps);
  check_heads(network, *this);
  require(with_conditioning == cross_attention_dim.has_value(),
          "{}: 'with_conditioning' is {} and 'cross_attention_dim' is {}; set both or neither", network,
          with_conditioning, cross_attention_dim ? std::to_string(*cross_attention_dim) : "absent");
}

DiffusionModelUNetMaisiConfig DiffusionModelUNetMaisiConfig::from_json(const nlohmann::json& json) {
  constexpr char kUnet[] = "DiffusionModelUNetMaisi";
  ConfigReader reader(json, kUnet);
  DiffusionModelUNetMaisiConfig c;
  c.read(reader, "num_channels");
  reader.need("out_channels");
  reader.read("out_channels", c.out_channels, 1, kMostChannels);
  read_dropout(reader, kUnet, c.dropout_cattn);
  reader.read("include_top_region_index_input", c.include_top_region_index_input);
  reader.read("include_bottom_region_index_input", c.include_bottom_region_index_input);
  reader.read("include_spacing_input", c.include_spacing_input);
  reader.finish();
  c.validate(kUnet);
  return c;
}

DiffusionModelUNetConfig DiffusionModelUNetConfig::from_json(const nlohmann::json& json) {
  constexpr char kUnet[] = "DiffusionModelUNet";
  ConfigReader reader(json, kUnet);
  DiffusionModelUNetConfig c;
  c.read(reader, "channels");
  reader.need("out_channels");
  reader.read("out_channels", c.out_channels, 1, kMostChannels);
  read_dropout(reader, kUnet, c.dropout_cattn);
  reader.finish();
  c.validate(kUnet);
  return c;
}

ControlNetMaisiConfig ControlNetMaisiConfig::from_json(const nlohmann::json& json) {
  ConfigReader reader(json, "ControlNetMaisi");
  ControlNetMaisiConfig c;
  c.read(reader, "num_channels");
  reader.read("conditioning_embedding_in_channels", c.conditioning_embedding_in_channels, 1, kMostChannels);
  reader.read("conditioning_embedding_num_channels", c.conditioning_embedding_num_channels, 1, kMostChannels);
  reader.read("use_checkpointing", c.use_checkpointing);
  reader.finish();
  c.validate();
  return c;
}

void ControlNetMaisiConfig::validate() const {
  constexpr char kUnet[] = "ControlNetMaisi";
  UnetConfig::validate(kUnet);
  const size_t count = conditioning_embedding_num_channels.size();
  require(count >= 1 && count <= kMostLevels,
          "{}: 'conditioning_embedding_num_channels' has {} entries, 1 to {} are wanted", kUnet, count, kMostLevels);
}

}  // namespace medgen::maisi
