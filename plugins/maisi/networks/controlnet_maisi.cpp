// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/controlnet_maisi.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/checkpoint.h"
#include "plugins/support/nn/ops.h"

#include <ATen/ops/silu.h>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using support::require;

constexpr char kControlNet[] = "ControlNetMaisi";
constexpr size_t kConditionBytes = size_t{256} << 20;  // kept beside the latest

const ControlNetMaisiConfig& validated(const ControlNetMaisiConfig& config) {
  config.validate();
  return config;
}

/// A 1x1x1 convolution that starts at zero, so that an untrained ControlNet changes nothing. Its result is the
/// network's.
ConvOptions zero_projection(const UnetConfig& c, int64_t channels) {
  return {.rank = c.spatial_dims,
          .in = channels,
          .out = channels,
          .kernel = 1,
          .padding = 0,
          .zero = true,
          .role = nn::Role::Exact};
}

}  // namespace

ControlNetMaisi::ControlNetMaisi(const ControlNetMaisiConfig& config)
    : config_(validated(config)),
      conv_in_(add<Conv>("conv_in.conv", ConvOptions{.rank = config.spatial_dims,
                                                     .in = config.in_channels,
                                                     .out = config.num_channels.front(),
                                                     .role = nn::Role::Exact})),
      time_embedding_(*this, config),
      conditions_(kConditionBytes) {
  add_condition_embedding();
  down_blocks_ = add_down_blocks(*this, config_, config_.time_dim());
  add_zero_convolutions();
  middle_block_ = &add<MiddleBlock>("middle_block", config_, config_.time_dim());
  mid_projection_ = &add<Conv>("controlnet_mid_block.conv", zero_projection(config_, config_.num_channels.back()));
}

void ControlNetMaisi::add_condition_embedding() {
  const std::string prefix = "controlnet_cond_embedding.";
  const std::vector<int64_t>& channels = config_.conditioning_embedding_num_channels;
  const int64_t rank = config_.spatial_dims;
  const auto append = [&](const std::string& name, const ConvOptions& options) {
    condition_convs_.push_back(&add<Conv>(prefix + name + ".conv", options));
  };
  append("conv_in", {.rank = rank, .in = config_.conditioning_embedding_in_channels, .out = channels.front()});
  for (size_t i = 0; i + 1 < channels.size(); ++i) {
    append("blocks." + std::to_string(2 * i), {.rank = rank, .in = channels[i], .out = channels[i]});
    append("blocks." + std::to_string(2 * i + 1),
           {.rank = rank, .in = channels[i], .out = channels[i + 1], .stride = 2});
  }
  append("conv_out", {.rank = rank,
                      .in = channels.back(),
                      .out = config_.num_channels.front(),
                      .zero = true,
                      .role = nn::Role::Exact});
}

void ControlNetMaisi::add_zero_convolutions() {
  const auto append = [this](int64_t channels) {
    // Only the first one is published without the inner name.
    const size_t index = down_projections_.size();
    const std::string name = "controlnet_down_blocks." + std::to_string(index) + (index == 0 ? "" : ".conv");
    down_projections_.push_back(&add<Conv>(name, zero_projection(config_, channels)));
  };
  append(config_.num_channels.front());
  for (size_t level = 0; level < config_.levels(); ++level) {
    const int64_t count = config_.num_res_blocks[level] + (level + 1 < config_.levels() ? 1 : 0);
    for (int64_t i = 0; i < count; ++i) append(config_.num_channels[level]);
  }
}

bool ControlNetMaisi::ignores(std::string_view name) const {
  return !config_.include_fc && is_unused_projection(name);
}

void ControlNetMaisi::check(const ControlNetInputs& inputs) const {
  check_unet_inputs(kControlNet, config_, inputs.x, inputs.context);
  check_feature_map(kControlNet, "controlnet_cond", inputs.controlnet_cond, config_.spatial_dims,
                    config_.conditioning_embedding_in_channels);
  bool fits = inputs.controlnet_cond.size(0) == inputs.x.size(0);
  for (int64_t axis = 2; axis < inputs.x.dim(); ++axis) {
    fits = fits && inputs.controlnet_cond.size(axis) == inputs.x.size(axis) * condition_factor();
  }
  require(fits,
          "{}: 'controlnet_cond' has shape {}; for 'x' of shape {} the same batch and {} times its spatial lengths are "
          "wanted",
          kControlNet, shape_text(inputs.controlnet_cond.sizes()), shape_text(inputs.x.sizes()), condition_factor());
  for (const int64_t length : inputs.x.sizes().slice(2)) {
    require(!config_.resblock_updown || length >= config_.granularity(),
            "{}: 'x' has shape {}; with 'resblock_updown' its spatial lengths must be at least {}", kControlNet,
            shape_text(inputs.x.sizes()), config_.granularity());
  }
  time_embedding_.check(kControlNet, inputs.timesteps, inputs.class_labels, inputs.x.size(0));
}

at::Tensor ControlNetMaisi::embed_condition(const at::Tensor& condition) const {
  at::Tensor h = condition_convs_.front()->forward(nn::channels_last(condition.to(compute_dtype())));
  for (size_t i = 1; i + 1 < condition_convs_.size(); i += 2) {
    const auto block = [this, i](at::TensorList in) {
      return condition_convs_[i + 1]->forward(nn::silu(condition_convs_[i]->forward(nn::silu(in[0]))));
    };
    h = nn::run_segment(*this, block, {h});
  }
  return condition_convs_.back()->forward(nn::silu(h));
}

at::Tensor ControlNetMaisi::condition_embedding(const at::Tensor& condition) const {
  std::vector<at::Tensor> weights;
  for (nn::Conv* conv : condition_convs_) {
    for (const nn::NamedParameter& named : conv->parameters()) weights.push_back(named.parameter->value);
  }
  const auto embed = [&] { return nn::ConditionCache::Results{embed_condition(condition)}; };
  return conditions_.get(condition, weights, embed).front();
}

size_t ControlNetMaisi::condition_bytes_kept(size_t entry_bytes) {
  return nn::ConditionCache::bytes_kept(entry_bytes, kConditionBytes);
}

ControlNetResiduals ControlNetMaisi::forward(const ControlNetInputs& inputs) const {
  check(inputs);
  return evaluate(inputs, condition_embedding(inputs.controlnet_cond));
}

ControlNetResiduals ControlNetMaisi::evaluate(const ControlNetInputs& inputs, const at::Tensor& embedding) const {
  const at::Tensor emb = at::silu(time_embedding_.forward(inputs.timesteps, inputs.class_labels, inputs.x.size(0)));
  const at::Tensor context = inputs.context.defined() ? inputs.context.to(compute_dtype()) : at::Tensor();
  at::Tensor h = conv_in_.forward(nn::channels_last(inputs.x));
  h = stream_of(h.add_(embedding), compute_dtype());
  ControlNetResiduals residuals;
  const auto project = [&](const at::Tensor& x) {
    const Conv* projection = down_projections_[residuals.down.size()];
    residuals.down.push_back(projection->forward(x).mul_(inputs.conditioning_scale));
  };
  project(h);
  for (const DownBlock* block : down_blocks_) {
    std::vector<at::Tensor> skips;
    h = block->forward(h, emb, context, skips);
    for (const at::Tensor& skip : skips) project(skip);
  }
  h = middle_block_->forward(h, emb, context);
  residuals.mid = mid_projection_->forward(h).mul_(inputs.conditioning_scale);
  return residuals;
}

}  // namespace medgen::maisi
