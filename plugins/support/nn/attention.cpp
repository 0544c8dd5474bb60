// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/attention.h"

#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/wide_attention.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/scaled_dot_product_attention.h>

namespace medgen::nn {
namespace {

constexpr std::size_t kContextBytes = std::size_t{4} << 20;  // of a layer, kept beside the latest

const at::Tensor& weight_of(Linear& layer) {
  return layer.parameters().front().parameter->value;
}

/// (N, L, heads * d) -> (N, heads, L, d), a view.
at::Tensor split_heads(const at::Tensor& tokens, int64_t heads) {
  return tokens.unflatten(2, {heads, tokens.size(2) / heads}).transpose(1, 2);
}

/// softmax(q k^T / sqrt(d)) v per head; (N, L, C) in and out.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  if (prefers_wide_attention(q)) return wide_attention(q, k, v, options.heads).to(v.scalar_type());
  const auto head = [&](const at::Tensor& x) {
    return split_heads(options.upcast ? x.to(at::kFloat) : for_products(x), options.heads);
  };
  const at::Tensor mixed = at::scaled_dot_product_attention(head(q), head(k), head(v));
  return mixed.transpose(1, 2).flatten(2).to(v.scalar_type());
}

}  // namespace

SelfAttention::SelfAttention(const AttentionOptions& options) : options_(options) {
  const int64_t c = options.channels;
  if (options.output_projection) out_proj_ = &add<Linear>("out_proj", c, c);
  if (options.combined) {
    qkv_ = &add<Linear>("qkv", c, 3 * c, options.qkv_bias);
    return;
  }
  to_q_ = &add<Linear>("to_q", c, c, options.qkv_bias);
  to_k_ = &add<Linear>("to_k", c, c, options.qkv_bias);
  to_v_ = &add<Linear>("to_v", c, c, options.qkv_bias);
}

at::Tensor SelfAttention::forward(const at::Tensor& tokens) const {
  const sdk::Range range = this->range();
  at::Tensor mixed;
  if (qkv_ != nullptr) {
    const std::vector<at::Tensor> parts = qkv_->forward(tokens).chunk(3, 2);
    mixed = attend(parts[0], parts[1], parts[2], options_);
  } else {
    mixed = attend(to_q_->forward(tokens), to_k_->forward(tokens), to_v_->forward(tokens), options_);
  }
  return out_proj_ == nullptr ? mixed : out_proj_->forward(mixed);
}

CrossAttention::CrossAttention(const AttentionOptions& options, int64_t context_channels)
    : options_(options),
      out_proj_(add<Linear>("out_proj", options.channels, options.channels)),
      to_q_(add<Linear>("to_q", options.channels, options.channels, false)),
      to_k_(add<Linear>("to_k", context_channels, options.channels, false)),
      to_v_(add<Linear>("to_v", context_channels, options.channels, false)),
      contexts_(kContextBytes) {}

at::Tensor CrossAttention::forward(const at::Tensor& tokens, const at::Tensor& context) const {
  const sdk::Range range = this->range();
  const ConditionCache::Results known = contexts_.get(context, {weight_of(to_k_), weight_of(to_v_)}, [&] {
    return ConditionCache::Results{to_k_.forward(context), to_v_.forward(context)};
  });
  return out_proj_.forward(attend(to_q_.forward(tokens), known[0], known[1], options_));
}

GegluMlp::GegluMlp(int64_t channels)
    : linear1_(add<Linear>("linear1", channels, 8 * channels)),
      linear2_(add<Linear>("linear2", 4 * channels, channels)) {}

at::Tensor GegluMlp::forward(const at::Tensor& tokens) const {
  const std::vector<at::Tensor> parts = linear1_.forward(tokens).to(at::kFloat).chunk(2, -1);
  return linear2_.forward(parts[0].mul(at::gelu(parts[1])).to(tokens.scalar_type()));
}

TransformerBlock::TransformerBlock(const AttentionOptions& options, int64_t context_channels)
    : attn1_(add<SelfAttention>("attn1", options)),
      ff_(add<GegluMlp>("ff", options.channels)),
      attn2_(add<CrossAttention>("attn2", options, context_channels)),
      norm1_(add<LayerNorm>("norm1", options.channels)),
      norm2_(add<LayerNorm>("norm2", options.channels)),
      norm3_(add<LayerNorm>("norm3", options.channels)) {}

at::Tensor TransformerBlock::forward(const at::Tensor& tokens, const at::Tensor& context) const {
  const auto narrow = [&](const at::Tensor& x) { return x.to(context.scalar_type()); };
  at::Tensor h = tokens.add(attn1_.forward(narrow(norm1_.forward(tokens))));
  h = h.add(attn2_.forward(narrow(norm2_.forward(h)), context));
  return h.add(ff_.forward(narrow(norm3_.forward(h))));
}

SpatialAttention::SpatialAttention(const AttentionOptions& options, int64_t norm_groups, double norm_eps)
    : norm_(add<GroupNorm>("norm", norm_groups, options.channels, norm_eps)),
      attn_(add<SelfAttention>("attn", options)) {}

at::Tensor SpatialAttention::forward(const at::Tensor& x, const at::Tensor& /*context*/) const {
  return with_residual(from_tokens(attn_.forward(to_tokens(norm_.forward(x.to(compute_dtype())))), x), x);
}

SpatialTransformer::SpatialTransformer(int64_t rank, const AttentionOptions& options, int64_t layers,
                                       int64_t context_channels, int64_t norm_groups, double norm_eps)
    : norm_(add<GroupNorm>("norm", norm_groups, options.channels, norm_eps)),
      proj_in_(add<Conv>(
          "proj_in.conv",
          ConvOptions{.rank = rank, .in = options.channels, .out = options.channels, .kernel = 1, .padding = 0})) {
  for (int64_t i = 0; i < layers; ++i) {
    blocks_.push_back(&add<TransformerBlock>("transformer_blocks." + std::to_string(i), options, context_channels));
  }
  proj_out_ = &add<Conv>(
      "proj_out.conv",
      ConvOptions{
          .rank = rank, .in = options.channels, .out = options.channels, .kernel = 1, .padding = 0, .zero = true});
}

at::Tensor SpatialTransformer::forward(const at::Tensor& x, const at::Tensor& context) const {
  const at::ScalarType compute = compute_dtype();
  at::Tensor tokens = to_tokens(proj_in_.forward(norm_.forward(x.to(compute)))).to(at::kFloat);
  for (const TransformerBlock* block : blocks_) tokens = block->forward(tokens, context.to(compute));
  return with_residual(proj_out_->forward(from_tokens(tokens.to(compute), x)), x);
}

}  // namespace medgen::nn
