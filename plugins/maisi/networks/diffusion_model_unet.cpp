// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/networks/diffusion_model_unet.h"

#include "plugins/maisi/networks/limits.h"
#include "plugins/support/error.h"
#include "plugins/support/nn/ops.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace medgen::maisi {
namespace {

using nn::Conv;
using nn::ConvOptions;
using support::require;

/// The vector conditions that some networks take and others do not.
constexpr std::array<std::pair<std::string_view, at::Tensor UnetInputs::*>, 3> kVectorArguments = {
    {{"top_region_index_tensor", &UnetInputs::top_region_index_tensor},
     {"bottom_region_index_tensor", &UnetInputs::bottom_region_index_tensor},
     {"spacing_tensor", &UnetInputs::spacing_tensor}}};

const UnetConfig& validated(const char* name, const UnetConfig& config) {
  config.validate(name);
  return config;
}

}  // namespace

DiffusionUnet::DiffusionUnet(const char* name, const UnetConfig& config, int64_t out_channels,
                             std::vector<VectorInput> vectors, bool aliased)
    : name_(name),
      config_(validated(name, config)),
      vectors_(std::move(vectors)),
      aliased_(aliased),
      conv_in_(add<Conv>("conv_in.conv", ConvOptions{.rank = config.spatial_dims,
                                                     .in = config.in_channels,
                                                     .out = config.num_channels.front(),
                                                     .role = nn::Role::Exact})),
      time_embedding_(*this, config) {
  const int64_t emb_dim = config.time_dim() * static_cast<int64_t>(1 + vectors_.size());
  for (const VectorInput& input : vectors_) {
    vector_layers_.push_back(&add<nn::EmbeddingMlp>(input.layer, input.width, config.time_dim()));
  }
  down_blocks_ = add_down_blocks(*this, config, emb_dim);
  middle_block_ = &add<MiddleBlock>("middle_block", config, emb_dim);
  for (size_t i = 0; i < config.levels(); ++i) {
    up_blocks_.push_back(&add<UpBlock>("up_blocks." + std::to_string(i), config, config.levels() - 1 - i, emb_dim));
  }
  const int64_t channels = config.num_channels.front();
  out_norm_ = &add<nn::GroupNorm>("out.0", config.norm_num_groups, channels, config.norm_eps);
  out_conv_ = &add<Conv>(
      "out.2.conv",
      ConvOptions{
          .rank = config.spatial_dims, .in = channels, .out = out_channels, .zero = true, .role = nn::Role::Exact});
}

bool DiffusionUnet::ignores(std::string_view name) const {
  return !config_.include_fc && is_unused_projection(name);
}

size_t DiffusionUnet::skip_count() const {
  size_t count = config_.levels();  // conv_in, and one halving between each two levels
  for (const int64_t blocks : config_.num_res_blocks) count += static_cast<size_t>(blocks);
  return count;
}

void DiffusionUnet::check(const UnetInputs& inputs) const {
  check_unet_inputs(name_, config_, inputs.x, inputs.context);
  // A ControlNet alone takes any lengths; here the way up must meet the skips.
  for (const int64_t length : inputs.x.sizes().slice(2)) {
    require(length % config_.granularity() == 0, "{}: 'x' has shape {}; its spatial lengths must be multiples of {}",
            name_, shape_text(inputs.x.sizes()), config_.granularity());
  }
  for (const auto& [name, argument] : kVectorArguments) {
    const bool wanted = std::any_of(vectors_.begin(), vectors_.end(), [name = name](const VectorInput& input) {
      return std::string_view(input.name) == name;
    });
    require(wanted || !(inputs.*argument).defined(), "{}: '{}' was given, but the network does not take it", name_,
            name);
  }
  const size_t residuals = inputs.down_block_additional_residuals.size();
  require(residuals == 0 || residuals == skip_count(), "{}: {} residuals were given, {} are wanted", name_, residuals,
          skip_count());
  time_embedding_.check(name_, inputs.timesteps, inputs.class_labels, inputs.x.size(0));
}

at::Tensor DiffusionUnet::embedding(const UnetInputs& inputs) const {
  const int64_t batch = inputs.x.size(0);
  std::vector<at::Tensor> parts = {time_embedding_.forward(inputs.timesteps, inputs.class_labels, batch)};
  for (size_t i = 0; i < vectors_.size(); ++i) {
    const VectorInput& input = vectors_[i];
    parts.push_back(
        vector_layers_[i]->forward(batch_of_vectors(name_, input.name, inputs.*input.argument, input.width, batch)));
  }
  return at::silu(at::cat(parts, 1));
}

at::Tensor DiffusionUnet::add_residuals(const UnetInputs& inputs, at::Tensor h, std::vector<at::Tensor>& skips) const {
  const std::vector<at::Tensor>& residuals = inputs.down_block_additional_residuals;
  for (size_t i = 0; i < residuals.size(); ++i) {
    require(residuals[i].sizes() == skips[i].sizes(), "{}: residual {} has shape {}, {} is wanted", name_, i,
            shape_text(residuals[i].sizes()), shape_text(skips[i].sizes()));
    skips[i] = skips[i].add(residuals[i].to(skips[i].scalar_type()));
  }
  return aliased_ && !residuals.empty() ? skips.back() : h;
}

at::Tensor DiffusionUnet::forward(const UnetInputs& inputs) const {
  check(inputs);
  return evaluate(inputs);
}

at::Tensor DiffusionUnet::evaluate(const UnetInputs& inputs) const {
  const at::Tensor emb = embedding(inputs);
  const at::Tensor context = inputs.context.defined() ? inputs.context.to(compute_dtype()) : at::Tensor();
  at::Tensor h = stream_of(conv_in_.forward(nn::channels_last(inputs.x)), compute_dtype());
  std::vector<at::Tensor> skips = {h.to(compute_dtype())};
  for (const DownBlock* block : down_blocks_) {
    std::vector<at::Tensor> made;
    h = block->forward(h, emb, context, made);
    for (const at::Tensor& skip : made) skips.push_back(skip.to(compute_dtype()));
  }
  h = middle_block_->forward(add_residuals(inputs, h, skips), emb, context);
  if (inputs.mid_block_additional_residual.defined()) {
    const at::Tensor& residual = inputs.mid_block_additional_residual;
    require(residual.sizes() == h.sizes(), "{}: the residual of the middle block has shape {}, {} is wanted", name_,
            shape_text(residual.sizes()), shape_text(h.sizes()));
    h = h.add(residual.to(h.scalar_type()));
  }
  h = h.to(compute_dtype());
  for (const UpBlock* block : up_blocks_) h = block->forward(std::move(h), emb, context, skips);
  return out_conv_->forward(out_norm_->forward_silu(h));
}

DiffusionModelUNetMaisi::DiffusionModelUNetMaisi(const DiffusionModelUNetMaisiConfig& c)
    : DiffusionUnet(
          "DiffusionModelUNetMaisi", c, c.out_channels,
          [&] {
            std::vector<VectorInput> vectors;
            if (c.include_top_region_index_input) {
              vectors.push_back(
                  {"top_region_index_layer", "top_region_index_tensor", &UnetInputs::top_region_index_tensor, 4});
            }
            if (c.include_bottom_region_index_input) {
              vectors.push_back({"bottom_region_index_layer", "bottom_region_index_tensor",
                                 &UnetInputs::bottom_region_index_tensor, 4});
            }
            if (c.include_spacing_input) {
              vectors.push_back({"spacing_layer", "spacing_tensor", &UnetInputs::spacing_tensor, 3});
            }
            return vectors;
          }(),
          /*aliased=*/true) {}

DiffusionModelUNet::DiffusionModelUNet(const DiffusionModelUNetConfig& config)
    : DiffusionUnet("DiffusionModelUNet", config, config.out_channels, {}, /*aliased=*/false) {}

}  // namespace medgen::maisi
