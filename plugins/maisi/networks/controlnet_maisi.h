// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/unet_blocks.h"
#include "plugins/support/nn/condition_cache.h"

namespace medgen::maisi {

/// Arguments of a ControlNet call under their published names.
struct ControlNetInputs {
  at::Tensor x;                ///< (N, in_channels, spatial...), as its U-Net gets it
  at::Tensor timesteps;        ///< (N) or (1)
  at::Tensor controlnet_cond;  ///< (N, conditioning_embedding_in_channels, spatial times condition_factor()...)
  double conditioning_scale = 1.0;
  at::Tensor context;       ///< (N, M, cross_attention_dim), with_conditioning only
  at::Tensor class_labels;  ///< (N) or (1), num_class_embeds only
};

/// What the U-Net takes as down_block_additional_residuals and mid_block_additional_residual; in the compute type.
struct ControlNetResiduals {
  std::vector<at::Tensor> down;
  at::Tensor mid;
};

/// The ControlNet of MAISI: a copy of the U-Net's way down that sees a full-resolution condition.
/// Source: Zhang and Agrawala 2023, arXiv 2409.11169; pinned by tests/golden/maisi.
class ControlNetMaisi : public nn::Module {
 public:
  explicit ControlNetMaisi(const ControlNetMaisiConfig& config);

  /// @throws InvalidInput before any work when an input is missing, superfluous or misshapen
  ControlNetResiduals forward(const ControlNetInputs& inputs) const;

  /// Its parts: what is wrong with the inputs; what is made of the condition alone, and kept; and the residuals, for
  /// which no device is waited for.
  void check(const ControlNetInputs& inputs) const;
  at::Tensor condition_embedding(const at::Tensor& condition) const;
  ControlNetResiduals evaluate(const ControlNetInputs& inputs, const at::Tensor& embedding) const;

  const ControlNetMaisiConfig& config() const { return config_; }

  /// The most bytes of conditions and their embeddings that are kept, of `entry_bytes` each.
  static size_t condition_bytes_kept(size_t entry_bytes);

  /// Voxels of the condition per voxel of x along each axis.
  int64_t condition_factor() const { return int64_t{1} << (config_.conditioning_embedding_num_channels.size() - 1); }

 private:
  bool ignores(std::string_view name) const override;
  void add_condition_embedding();
  void add_zero_convolutions();
  at::Tensor embed_condition(const at::Tensor& condition) const;

  ControlNetMaisiConfig config_;
  nn::Conv& conv_in_;
  TimeEmbedding time_embedding_;
  std::vector<nn::Conv*> condition_convs_;
  mutable nn::ConditionCache conditions_;  // at full resolution their embedding is a good part of the work
  std::vector<DownBlock*> down_blocks_;
  std::vector<nn::Conv*> down_projections_;
  MiddleBlock* middle_block_ = nullptr;
  nn::Conv* mid_projection_ = nullptr;
};

}  // namespace medgen::maisi
