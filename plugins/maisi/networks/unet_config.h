// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/attention.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>

namespace medgen::support {
class ConfigReader;
}

namespace medgen::maisi {

/// What the diffusion U-Nets and the ControlNet have in common, with the names and defaults of the published
/// constructors (MONAI 1.6.1). Lists have one entry per level; in JSON one number may stand for a list.
struct UnetConfig {
  int64_t spatial_dims = 3;  ///< 2 or 3
  int64_t in_channels = 1;
  std::vector<int64_t> num_res_blocks = {2, 2, 2, 2};
  std::vector<int64_t> num_channels = {32, 64, 64, 64};  ///< "channels" in the stock U-Net
  std::vector<bool> attention_levels = {false, false, true, true};
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-6;
  bool resblock_updown = false;
  std::vector<int64_t> num_head_channels = {8, 8, 8,
                                            8};  ///< read where a level has attention; the last one in the middle
  bool with_conditioning = false;
  int64_t transformer_num_layers = 1;
  std::optional<int64_t> cross_attention_dim;
  std::optional<int64_t> num_class_embeds;
  bool upcast_attention = false;
  bool include_fc = false;
  bool use_combined_linear = false;
  double dropout_cattn = 0.0;        ///< of U-Nets; acts in the published training code only, so that ours refuses it
  bool use_flash_attention = false;  ///< accepted; attention never holds the whole score matrix

  size_t levels() const { return num_channels.size(); }

  /// Length of the time embedding.
  int64_t time_dim() const { return 4 * num_channels.front(); }

  /// Spatial lengths must be multiples of this.
  int64_t granularity() const { return int64_t{1} << (levels() - 1); }

  nn::AttentionOptions attention(size_t level) const;

  /// Reads the common keys; `channels_key` is "num_channels" or "channels".
  void read(support::ConfigReader& reader, const char* channels_key);

  /// @throws InvalidInput, naming `network`, when it cannot be built
  void validate(std::string_view network) const;
};

/// DiffusionModelUNetMaisi, the image denoiser.
struct DiffusionModelUNetMaisiConfig : UnetConfig {
  int64_t out_channels = 1;
  bool include_top_region_index_input = false;
  bool include_bottom_region_index_input = false;
  bool include_spacing_input = false;

  static DiffusionModelUNetMaisiConfig from_json(const nlohmann::json& json);
};

/// The stock DiffusionModelUNet, the mask denoiser. Its list of channels is published as "channels".
struct DiffusionModelUNetConfig : UnetConfig {
  DiffusionModelUNetConfig() { include_fc = true; }

  int64_t out_channels = 1;

  static DiffusionModelUNetConfig from_json(const nlohmann::json& json);
};

struct ControlNetMaisiConfig : UnetConfig {
  int64_t conditioning_embedding_in_channels = 1;
  std::vector<int64_t> conditioning_embedding_num_channels = {16, 32, 96, 256};
  bool use_checkpointing = true;  ///< accepted, without effect on the numbers

  static ControlNetMaisiConfig from_json(const nlohmann::json& json);

  /// @throws InvalidInput
  void validate() const;
};

}  // namespace medgen::maisi
