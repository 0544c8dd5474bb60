// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/unet_blocks.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/checkpoint.h"
#include "plugins/support/nn/ops.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using nn::GroupNorm;
using support::require;

std::string indexed(const char* list, size_t index) {
  return list + ("." + std::to_string(index));
}

/// The attention of a level, published as "attentions.<i>" or "attention".
nn::SpatialMixer& add_mixer(nn::Module& owner, const std::string& name, const UnetConfig& c, size_t level) {
  if (!c.with_conditioning) {
    return owner.add<nn::SpatialAttention>(name, c.attention(level), c.norm_num_groups, c.norm_eps);
  }
  return owner.add<nn::SpatialTransformer>(name, c.spatial_dims, c.attention(level), c.transformer_num_layers,
                                           *c.cross_attention_dim, c.norm_num_groups, c.norm_eps);
}

/// In memory that nobody else holds.
at::Tensor owned(const at::Tensor& y, const at::Tensor& x) {
  return y.is_same(x) && !at::GradMode::is_enabled() ? nn::copy_of(x) : y;
}

}  // namespace

DiffusionResBlock::DiffusionResBlock(const UnetConfig& c, int64_t in, int64_t out, int64_t emb_dim, Resample resample)
    : resample_(resample),
      norm1_(add<GroupNorm>("norm1", c.norm_num_groups, in, c.norm_eps)),
      conv1_(add<Conv>("conv1.conv", ConvOptions{.rank = c.spatial_dims, .in = in, .out = out})),
      time_emb_proj_(add<nn::Linear>("time_emb_proj", emb_dim, out, true, nn::Role::Exact)),
      norm2_(add<GroupNorm>("norm2", c.norm_num_groups, out, c.norm_eps)),
      conv2_(add<Conv>("conv2.conv", ConvOptions{.rank = c.spatial_dims, .in = out, .out = out, .zero = true})) {
  if (in == out) return;
  skip_connection_ = &add<Conv>("skip_connection.conv",
                                ConvOptions{.rank = c.spatial_dims, .in = in, .out = out, .kernel = 1, .padding = 0});
}

at::Tensor DiffusionResBlock::resampled(const at::Tensor& x) const {
  switch (resample_) {
    case Resample::Down:
      return nn::average_pool_2x(x);
    case Resample::Up:
      return nn::upsample_nearest_2x(x);
    case Resample::None:
      break;
  }
  return x;
}

at::Tensor DiffusionResBlock::forward(const at::Tensor& x, const at::Tensor& emb) const {
  at::Tensor h = norm1_.forward_silu_as(compute_dtype(), x);
  h = resample_ == Resample::Up ? conv1_.forward_upsampled(h) : conv1_.forward(resampled(h));
  h = norm2_.forward_silu(h, time_emb_proj_.forward(emb));
  return conv2_.forward_add(h, owned(shortcut(x), x));
}

/// What the block's result is added to: in float32 where the sums are kept so, which costs little, as its kernel has
/// one voxel, and keeps their digits.
at::Tensor DiffusionResBlock::shortcut(const at::Tensor& x) const {
  const at::Tensor like = resampled(x);
  return skip_connection_ != nullptr ? skip_connection_->forward(like) : like;
}

DownBlock::DownBlock(const UnetConfig& c, size_t level, int64_t emb_dim) {
  const int64_t out = c.num_channels[level];
  const auto count = static_cast<size_t>(c.num_res_blocks[level]);
  for (size_t i = 0; i < count && c.attention_levels[level]; ++i) {
    attentions_.push_back(&add_mixer(*this, indexed("attentions", i), c, level));
  }
  for (size_t i = 0; i < count; ++i) {
    const int64_t in = i == 0 && level > 0 ? c.num_channels[level - 1] : out;
    resnets_.push_back(&add<DiffusionResBlock>(indexed("resnets", i), c, in, out, emb_dim));
  }
  if (level + 1 == c.levels()) return;
  if (c.resblock_updown) {
    down_block_ = &add<DiffusionResBlock>("downsampler", c, out, out, emb_dim, Resample::Down);
  } else {
    // The whole of the sum that goes down passes through it, an eighth of its voxels: rounding would cost more than it.
    down_conv_ =
        &add<Conv>("downsampler.op.conv",
                   ConvOptions{.rank = c.spatial_dims, .in = out, .out = out, .stride = 2, .role = nn::Role::Exact});
  }
}

at::Tensor DownBlock::unit(size_t i, const at::Tensor& x, const at::Tensor& emb, const at::Tensor& context) const {
  const at::Tensor h = resnets_[i]->forward(x, emb);
  return attentions_.empty() ? h : attentions_[i]->forward(h, context);
}

at::Tensor DownBlock::forward(at::Tensor x, const at::Tensor& emb, const at::Tensor& context,
                              std::vector<at::Tensor>& skips) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    x = nn::run_segment(*this, [this, i, context](at::TensorList in) { return unit(i, in[0], in[1], context); },
                        {x, emb});
    skips.push_back(x);
  }
  if (down_block_ == nullptr && down_conv_ == nullptr) return x;
  x = down_block_ == nullptr
          ? down_conv_->forward(x).to(x.scalar_type())
          : nn::run_segment(*this, [this](at::TensorList in) { return down_block_->forward(in[0], in[1]); }, {x, emb});
  skips.push_back(x);
  return x;
}

MiddleBlock::MiddleBlock(const UnetConfig& c, int64_t emb_dim)
    : resnet_1_(add<DiffusionResBlock>("resnet_1", c, c.num_channels.back(), c.num_channels.back(), emb_dim)),
      attention_(add_mixer(*this, "attention", c, c.levels() - 1)),
      resnet_2_(add<DiffusionResBlock>("resnet_2", c, c.num_channels.back(), c.num_channels.back(), emb_dim)) {}

at::Tensor MiddleBlock::forward(const at::Tensor& x, const at::Tensor& emb, const at::Tensor& context) const {
  return nn::run_segment(*this,
                         [this, context](at::TensorList in) {
                           return resnet_2_.forward(attention_.forward(resnet_1_.forward(in[0], in[1]), context),
                                                    in[1]);
                         },
                         {x, emb});
}

UpBlock::UpBlock(const UnetConfig& c, size_t level, int64_t emb_dim) {
  const int64_t out = c.num_channels[level];
  const auto add_attentions = [&] {
    for (size_t i = 0; i < static_cast<size_t>(c.num_res_blocks[level]) + 1 && c.attention_levels[level]; ++i) {
      attentions_.push_back(&add_mixer(*this, indexed("attentions", i), c, level));
    }
  };
  // The published blocks declare the two lists in this order, which the state dict keeps.
  if (c.with_conditioning) add_attentions();
  add_resnets(c, level, emb_dim);
  if (!c.with_conditioning) add_attentions();
  if (level == 0) return;
  if (c.resblock_updown) {
    up_block_ = &add<DiffusionResBlock>("upsampler", c, out, out, emb_dim, Resample::Up);
  } else {
    up_conv_ = &add<Conv>("upsampler.postconv.conv", ConvOptions{.rank = c.spatial_dims, .in = out, .out = out});
  }
}

void UpBlock::add_resnets(const UnetConfig& c, size_t level, int64_t emb_dim) {
  const int64_t out = c.num_channels[level];
  const int64_t from_below = level + 1 < c.levels() ? c.num_channels[level + 1] : out;
  const int64_t last_skip = level > 0 ? c.num_channels[level - 1] : c.num_channels[0];
  const auto count = static_cast<size_t>(c.num_res_blocks[level]) + 1;
  for (size_t i = 0; i < count; ++i) {
    const int64_t in = (i == 0 ? from_below : out) + (i + 1 == count ? last_skip : out);
    resnets_.push_back(&add<DiffusionResBlock>(indexed("resnets", i), c, in, out, emb_dim));
  }
}

at::Tensor UpBlock::unit(size_t i, const at::Tensor& joined, const at::Tensor& emb, const at::Tensor& context) const {
  const at::Tensor h = resnets_[i]->forward(joined, emb);
  return attentions_.empty() ? h : attentions_[i]->forward(h, context);
}

at::Tensor UpBlock::upsample(const at::Tensor& x, const at::Tensor& emb) const {
  return up_block_ != nullptr ? up_block_->forward(x, emb) : up_conv_->forward_upsampled(x);
}

at::Tensor UpBlock::forward(at::Tensor x, const at::Tensor& emb, const at::Tensor& context,
                            std::vector<at::Tensor>& skips) const {
  for (size_t i = 0; i < resnets_.size(); ++i) {
    at::Tensor skip = std::move(skips.back());
    skips.pop_back();
    if (at::GradMode::is_enabled()) {
      const auto joins = [this, i, context](at::TensorList in) {
        return unit(i, nn::join_channels(in[0], in[1]), in[2], context);
      };
      x = nn::run_segment(*this, joins, {x, skip, emb});
      continue;
    }
    const at::Tensor joined = nn::join_channels(x, skip);
    x.reset(), skip.reset();  // the largest maps of a pass
    x = unit(i, joined, emb, context);
  }
  if (up_block_ == nullptr && up_conv_ == nullptr) return x;
  return nn::run_segment(*this, [this](at::TensorList in) { return upsample(in[0], in[1]); }, {x, emb});
}

TimeEmbedding::TimeEmbedding(nn::Module& owner, const UnetConfig& c)
    : frequencies_(c.num_channels.front()),
      time_embed_(owner.add<nn::EmbeddingMlp>("time_embed", c.num_channels.front(), c.time_dim())) {
  if (c.num_class_embeds)
    class_embedding_ = &owner.add<nn::Embedding>("class_embedding", *c.num_class_embeds, c.time_dim());
}

void TimeEmbedding::check(std::string_view network, const at::Tensor& timesteps, const at::Tensor& class_labels,
                          int64_t batch) const {
  const auto fits = [batch](const at::Tensor& t) {
    return t.defined() && t.dim() == 1 && (t.size(0) == 1 || t.size(0) == batch);
  };
  require(fits(timesteps), "{}: 'timesteps' wants one number per sample, {} of them", network, batch);
  require(class_embedding_ != nullptr || !class_labels.defined(),
          "{}: 'class_labels' was given, but the network has no class embeddings", network);
  if (class_embedding_ == nullptr) return;
  require(class_labels.defined(), "{}: 'class_labels' is missing; the network has class embeddings", network);
  require(fits(class_labels), "{}: 'class_labels' wants one label per sample, {} of them", network, batch);
  class_embedding_->check(class_labels.to(at::kLong));
}

at::Tensor TimeEmbedding::forward(const at::Tensor& timesteps, const at::Tensor& class_labels, int64_t batch) const {
  at::Tensor emb = time_embed_.forward(nn::timestep_embedding(timesteps, frequencies_));
  if (class_embedding_ != nullptr) emb = emb.add(class_embedding_->forward(class_labels.to(at::kLong)));
  return emb.expand({batch, emb.size(1)});
}

at::Tensor stream_of(const at::Tensor& x, at::ScalarType compute) {
  return at::GradMode::is_enabled() ? x.to(compute) : x;
}

std::vector<DownBlock*> add_down_blocks(nn::Module& owner, const UnetConfig& c, int64_t emb_dim) {
  std::vector<DownBlock*> blocks;
  for (size_t level = 0; level < c.levels(); ++level) {
    blocks.push_back(&owner.add<DownBlock>(indexed("down_blocks", level), c, level, emb_dim));
  }
  return blocks;
}

void check_unet_inputs(std::string_view network, const UnetConfig& c, const at::Tensor& x, const at::Tensor& context) {
  check_feature_map(network, "x", x, c.spatial_dims, c.in_channels);
  if (!c.with_conditioning) {
    require(!context.defined(), "{}: 'context' was given, but the network has no cross-attention", network);
    return;
  }
  require(context.defined() && context.dim() == 3 && context.size(0) == x.size(0) && context.size(1) > 0 &&
              context.size(2) == *c.cross_attention_dim,
          "{}: 'context' has shape {}, [{}, tokens, {}] is wanted", network,
          context.defined() ? shape_text(context.sizes()) : "none", x.size(0), *c.cross_attention_dim);
}

at::Tensor batch_of_vectors(std::string_view network, std::string_view name, const at::Tensor& vectors, int64_t width,
                            int64_t batch) {
  require(vectors.defined(), "{}: '{}' is missing; the network takes it", network, name);
  require(vectors.dim() == 2 && vectors.size(1) == width && (vectors.size(0) == batch || vectors.size(0) == 1),
          "{}: '{}' has shape {}, [{}, {}] is wanted", network, name, shape_text(vectors.sizes()), batch, width);
  return vectors.to(at::kFloat).expand({batch, width});
}

}  // namespace medgen::maisi
