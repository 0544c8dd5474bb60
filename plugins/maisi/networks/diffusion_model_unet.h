// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/unet_blocks.h"

namespace medgen::maisi {

/// Arguments of a U-Net call under their published names; N samples, spatial lengths multiples of config.granularity().
struct UnetInputs {
  at::Tensor x;                                             ///< (N, in_channels, spatial...)
  at::Tensor timesteps;                                     ///< (N) or (1), floating point or integer
  at::Tensor context;                                       ///< (N, M, cross_attention_dim), with_conditioning only
  at::Tensor class_labels;                                  ///< (N) or (1), num_class_embeds only
  std::vector<at::Tensor> down_block_additional_residuals;  ///< of a ControlNet; empty, or one per skip
  at::Tensor mid_block_additional_residual;
  at::Tensor top_region_index_tensor;     ///< (N, 4), one-hot times 100; these three only where the network takes them
  at::Tensor bottom_region_index_tensor;  ///< (N, 4)
  at::Tensor spacing_tensor;              ///< (N, 3), mm times 100
};

/// What DiffusionModelUNetMaisi and DiffusionModelUNet share. Predicts noise, velocity or x0, as it was trained.
class DiffusionUnet : public nn::Module {
 public:
  /// (N, out_channels, spatial...), float32.
  /// @throws InvalidInput before any work when an input is missing, superfluous or misshapen
  at::Tensor forward(const UnetInputs& inputs) const;

  /// Its two halves: what is wrong with the inputs, for which a device is waited for, and the numbers, for which none
  /// is.
  void check(const UnetInputs& inputs) const;
  at::Tensor evaluate(const UnetInputs& inputs) const;

  const UnetConfig& config() const { return config_; }

  /// How many residuals a ControlNet of the same shape gives.
  size_t skip_count() const;

 protected:
  /// A vector condition with its own embedding, concatenated to the time embedding.
  struct VectorInput {
    const char* layer;  ///< published name of its embedding
    const char* name;   ///< published name of the argument
    at::Tensor UnetInputs::*argument;
    int64_t width;
  };

  /// `aliased`: the released MAISI code adds residuals in place, so that the last one also reaches the middle block.
  DiffusionUnet(const char* name, const UnetConfig& config, int64_t out_channels, std::vector<VectorInput> vectors,
                bool aliased);

 private:
  bool ignores(std::string_view name) const override;
  at::Tensor embedding(const UnetInputs& inputs) const;
  at::Tensor add_residuals(const UnetInputs& inputs, at::Tensor h, std::vector<at::Tensor>& skips) const;

  const char* name_;
  UnetConfig config_;
  std::vector<VectorInput> vectors_;
  bool aliased_;
  nn::Conv& conv_in_;
  TimeEmbedding time_embedding_;
  std::vector<nn::EmbeddingMlp*> vector_layers_;
  std::vector<DownBlock*> down_blocks_;
  MiddleBlock* middle_block_ = nullptr;
  std::vector<UpBlock*> up_blocks_;
  nn::GroupNorm* out_norm_ = nullptr;
  nn::Conv* out_conv_ = nullptr;
};

/// The image denoiser of MAISI, ddpm and rflow. Source: arXiv 2409.11169, 2508.05772; pinned by tests/golden/maisi.
class DiffusionModelUNetMaisi : public DiffusionUnet {
 public:
  explicit DiffusionModelUNetMaisi(const DiffusionModelUNetMaisiConfig& config);
};

/// The stock latent diffusion U-Net, MAISI's mask denoiser. Source: Rombach et al. 2022; pinned by tests/golden/maisi.
class DiffusionModelUNet : public DiffusionUnet {
 public:
  explicit DiffusionModelUNet(const DiffusionModelUNetConfig& config);
};

}  // namespace medgen::maisi
