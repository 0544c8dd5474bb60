// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/layers.h"
#include "plugins/support/nn/stream.h"

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

/// A block between two feature maps: on tensors, for training, and streamed, for any size.
class AutoencoderBlock : public nn::Module {
 public:
  virtual at::Tensor forward(const at::Tensor& x) const = 0;
  /// Nobody reads x after that: its planes are released, or the result takes them.
  virtual nn::FeatureMap stream(nn::Stream& stream, const nn::FeatureMap& x) const = 0;
};

/// The encoder or the decoder: a convolution, blocks, a normalisation without activation and a convolution. Parameters
/// are named "blocks.<index>.<...>"; the first and the last layer compute in float32 whatever the precision.
class Coder : public nn::Module {
 public:
  void add_input(int64_t in, int64_t out);
  void add_output(int64_t groups, double eps, int64_t in, int64_t out);

  template <typename Block, typename... Args>
  void add_block(Args&&... args) {
    blocks_.push_back(&add<Block>(next_name(""), std::forward<Args>(args)...));
  }

  /// x in any type; float32 comes back.
  at::Tensor forward(const at::Tensor& x, at::ScalarType compute) const;
  /// The same into `out`, in the numbers of the whole volume at once.
  void stream(nn::Stream& stream, const at::Tensor& x, at::ScalarType compute, const at::Tensor& out,
              const nn::FinishPlanes& finish = nn::copy_planes) const;

 private:
  std::string next_name(const std::string& suffix) { return "blocks." + std::to_string(count_++) + suffix; }

  int64_t count_ = 0;
  nn::Conv* conv_in_ = nullptr;
  std::vector<const AutoencoderBlock*> blocks_;
  nn::GroupNorm* norm_ = nullptr;
  nn::Conv* conv_out_ = nullptr;
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

  /// Without gradients the volume is streamed, on a CUDA device where it does not fit whole; `options` bounds the
  /// memory, of maps, slabs and the result together, and does not change the result.
  /// @throws InvalidInput for a wrong rank, channel count or an axis shorter than the compression
  Posterior encode(const at::Tensor& x, const nn::StreamOptions& options = {}) const;

  /// Latent to image, or to label logits; float32, no activation at the end. Streamed as `encode`.
  at::Tensor decode(const at::Tensor& z, const nn::StreamOptions& options = {}) const;
  /// The same into `out` (image_shape(z), float32 on the CPU), plane by plane as they are finished; with other channels
  /// where `finish` makes them of the network's, so that of these no more than a slab is held.
  void decode_into(const at::Tensor& z, const at::Tensor& out, const nn::StreamOptions& options,
                   const nn::FinishPlanes& finish = nn::copy_planes) const;

  /// Shape of what decode makes of a latent of shape `z`.
  std::vector<int64_t> image_shape(at::IntArrayRef z) const;

  /// What bringing x (N, in_channels, ...) through encode, or z through decode into `out`, costs on options.devices;
  /// nothing is computed.
  nn::StreamCost encode_cost(at::IntArrayRef x, const nn::StreamOptions& options) const;
  nn::StreamCost decode_cost(at::IntArrayRef z, at::IntArrayRef out, const nn::StreamOptions& options) const;

  /// decode(encode(x).mean)
  at::Tensor reconstruct(const at::Tensor& x) const { return decode(encode(x).mean); }

  const AutoencoderKlMaisiConfig& config() const { return config_; }

 private:
  bool ignores(std::string_view name) const override;
  std::vector<int64_t> latent_shape(at::IntArrayRef x) const;

  /// How a pass is streamed, and what it costs so.
  struct Streamed {
    nn::StreamOptions options;
    nn::StreamCost cost;
  };

  /// Nothing where the pass is one over whole tensors.
  std::optional<Streamed> streamed(const Coder& coder, const at::Tensor& x, at::IntArrayRef shape,
                                   const nn::StreamOptions& options) const;
  /// What a pass over whole tensors takes, on a device that has so much memory.
  std::optional<nn::StreamCost> whole_on_device(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                                                const nn::StreamOptions& options) const;
  void run(const Coder& coder, const at::Tensor& x, const at::Tensor& out, const Streamed& streamed,
           const nn::FinishPlanes& finish) const;
  Streamed in_slabs(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                    const nn::StreamOptions& options) const;
  /// With what is left of the memory for maps.
  nn::StreamOptions for_maps(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                             const nn::StreamOptions& options) const;
  nn::StreamCost cost(const Coder& coder, at::IntArrayRef x, at::IntArrayRef shape,
                      const nn::StreamOptions& options) const;
  void build_encoder();
  void build_decoder();

  AutoencoderKlMaisiConfig config_;
  Coder& encoder_;
  Coder& decoder_;
  nn::Conv& quant_conv_mu_;
  nn::Conv& quant_conv_log_sigma_;
  nn::Conv& post_quant_conv_;
};

}  // namespace medgen::maisi
