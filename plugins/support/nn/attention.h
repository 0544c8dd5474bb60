// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/condition_cache.h"
#include "plugins/support/nn/layers.h"

// Tokens are (N, L, C). The softmax is float32 inside; memory grows with L, not L^2.

namespace medgen::nn {

struct AttentionOptions {
  int64_t channels = 1;
  int64_t heads = 1;              ///< divides channels
  bool qkv_bias = true;           ///< of to_q, to_k, to_v
  bool output_projection = true;  ///< the published include_fc
  bool combined = false;          ///< one qkv layer in place of three (use_combined_linear)
  bool upcast = false;            ///< scores in float32 for half-width activations (upcast_attention)
};

/// Multi-head self-attention; parameters out_proj, then qkv or to_q, to_k, to_v.
class SelfAttention : public Module {
 public:
  explicit SelfAttention(const AttentionOptions& options);

  at::Tensor forward(const at::Tensor& tokens) const;

 private:
  AttentionOptions options_;
  Linear* out_proj_ = nullptr;
  Linear* qkv_ = nullptr;
  Linear* to_q_ = nullptr;
  Linear* to_k_ = nullptr;
  Linear* to_v_ = nullptr;
};

/// Multi-head attention of tokens (N, L, C) to context (N, M, K); queries, keys and values have no bias. Without
/// gradients, keys and values of a context seen before are not computed again.
class CrossAttention : public Module {
 public:
  CrossAttention(const AttentionOptions& options, int64_t context_channels);

  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& context) const;

 private:
  AttentionOptions options_;
  Linear& out_proj_;
  Linear& to_q_;
  Linear& to_k_;
  Linear& to_v_;
  mutable ConditionCache contexts_;
};

/// Linear to 2 x 4C, split, x * gelu(gate), Linear to C (GEGLU, Shazeer 2020); parameters linear1, linear2.
class GegluMlp : public Module {
 public:
  explicit GegluMlp(int64_t channels);

  at::Tensor forward(const at::Tensor& tokens) const;

 private:
  Linear& linear1_;
  Linear& linear2_;
};

/// Pre-norm self-attention, cross-attention and GEGLU, each with a residual. Tokens are float32, as sums of many terms
/// want; the products compute in the type of the context.
class TransformerBlock : public Module {
 public:
  TransformerBlock(const AttentionOptions& options, int64_t context_channels);

  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& context) const;

 private:
  SelfAttention& attn1_;
  GegluMlp& ff_;
  CrossAttention& attn2_;
  LayerNorm& norm1_;
  LayerNorm& norm2_;
  LayerNorm& norm3_;
};

/// Something that mixes voxels of a feature map by attention and keeps its shape, and its type: that of the compute
/// parameters or float32.
class SpatialMixer : public Module {
 public:
  /// @param context  (N, M, K), or undefined where the mixer takes none
  virtual at::Tensor forward(const at::Tensor& x, const at::Tensor& context) const = 0;
};

/// x + attention(norm(x)); parameters norm, attn.
class SpatialAttention : public SpatialMixer {
 public:
  SpatialAttention(const AttentionOptions& options, int64_t norm_groups, double norm_eps);

  at::Tensor forward(const at::Tensor& x, const at::Tensor& context = {}) const override;

 private:
  GroupNorm& norm_;
  SelfAttention& attn_;
};

/// x + proj_out(transformer blocks(proj_in(norm(x)))); proj_out starts at zero.
class SpatialTransformer : public SpatialMixer {
 public:
  SpatialTransformer(int64_t rank, const AttentionOptions& options, int64_t layers, int64_t context_channels,
                     int64_t norm_groups, double norm_eps);

  at::Tensor forward(const at::Tensor& x, const at::Tensor& context) const override;

 private:
  GroupNorm& norm_;
  Conv& proj_in_;
  std::vector<TransformerBlock*> blocks_;
  Conv* proj_out_ = nullptr;
};

}  // namespace medgen::nn
