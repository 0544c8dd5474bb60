// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/layers.h"

#include <nlohmann/json_fwd.hpp>

namespace medgen::maisi {

/// Parameters of the published constructor (MONAI 1.6.1), with its names and defaults. The three lists have one entry
/// per level.
struct AutoencoderKlMaisiConfig {
  int64_t spatial_dims = 3;
  int64_t in_channels = 1;
  int64_t out_channels = 1;
  std::vector<int64_t> num_res_blocks;
  std::vector<int64_t> num_channels;
  std::vector<bool> attention_levels;
  int64_t latent_channels = 3;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-6;
  bool with_encoder_nonlocal_attn = false;
  bool with_decoder_nonlocal_attn = false;
  bool include_fc = false;
  bool use_combined_linear = false;
  bool use_convtranspose = false;

  // Accepted, without effect on the numbers: how the published code saves memory. Here the whole volume is always
  // computed exactly, also where the published splitting would drop rows.
  bool use_flash_attention = false;
  bool use_checkpointing = false;
  int64_t num_splits = 16;
  int64_t dim_split = 0;
  bool norm_float16 = false;
  bool print_info = false;
  bool save_mem = true;

  /// @throws InvalidInput for unknown keys, wrong types and impossible values
  static AutoencoderKlMaisiConfig from_json(const nlohmann::json& json);

  /// @throws InvalidInput when the network cannot be built
  void validate() const;

  /// Voxels per latent voxel along each axis.
  int64_t compression() const { return int64_t{1} << (num_channels.size() - 1); }
};

/// A flat list of blocks that run one after the other; parameters are named "blocks.<index>.<...>".
class BlockList : public nn::Module {
 public:
  /// Appends a block whose parameters are published below "blocks.<index><suffix>".
  template <typename Block, typename... Args>
  void append(const std::string& suffix, Args&&... args) {
    const Block& block = add<Block>("blocks." + std::to_string(steps_.size()) + suffix, std::forward<Args>(args)...);
    steps_.push_back([&block](const at::Tensor& x) { return block.forward(x); });
  }

  at::Tensor forward(at::Tensor x) const;

 private:
  std::vector<std::function<at::Tensor(const at::Tensor&)>> steps_;
};

/// The image and the mask autoencoder of MAISI. Shapes: x (N, in_channels, H, W, D), latent (N, latent_channels, H/f,
/// W/f, D/f) with f = compression(); a length that f does not divide is rounded down, as published. Source: MAISI,
/// arXiv 2409.11169; pinned by tests/golden/maisi.
class AutoencoderKlMaisi : public nn::Module {
 public:
  explicit AutoencoderKlMaisi(const AutoencoderKlMaisiConfig& config);

  /// The posterior of the latent; both float32. A sample is mean + sigma * noise.
  struct Posterior {
    at::Tensor mean;
    at::Tensor sigma;
  };

  /// @throws InvalidInput for a wrong rank, channel count or an axis shorter than the compression
  Posterior encode(const at::Tensor& x) const;

  /// Latent to image, or to label logits; float32, no activation at the end.
  at::Tensor decode(const at::Tensor& z) const;

  /// decode(encode(x).mean)
  at::Tensor reconstruct(const at::Tensor& x) const { return decode(encode(x).mean); }

  const AutoencoderKlMaisiConfig& config() const { return config_; }

 private:
  bool ignores(std::string_view name) const override;
  void build_encoder();
  void build_decoder();

  AutoencoderKlMaisiConfig config_;
  BlockList& encoder_;
  BlockList& decoder_;
  nn::Conv& quant_conv_mu_;
  nn::Conv& quant_conv_log_sigma_;
  nn::Conv& post_quant_conv_;
};

}  // namespace medgen::maisi
