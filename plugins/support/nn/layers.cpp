// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/layers.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/ops.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/instance_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>

#include <cmath>

namespace medgen::nn {
namespace {

constexpr double kMomentum = 0.1;  // of running statistics

/// PyTorch's start of convolutions and linear layers: U(-b, b), b = 1 / sqrt(fan in), for weight and bias alike.
Init uniform_by_fan_in(int64_t fan_in) {
  return {Init::Kind::Uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
}

Shape weight_shape(const ConvOptions& o) {
  Shape shape = o.transposed ? Shape{o.in, o.out} : Shape{o.out, o.in};
  shape.insert(shape.end(), static_cast<size_t>(o.rank), o.kernel);
  return shape;
}

Init conv_init(const ConvOptions& o) {
  if (o.zero) return {};
  if (o.normal_start > 0) return {Init::Kind::Normal, o.normal_start};
  int64_t fan_in = o.transposed ? o.out : o.in;
  for (int64_t axis = 0; axis < o.rank; ++axis) fan_in *= o.kernel;
  return uniform_by_fan_in(fan_in);
}

/// The parameter in the type of the activations: itself when it was stored so, else cast (and gradients flow back).
at::Tensor like(const at::Tensor& parameter, const at::Tensor& x) {
  return parameter.to(x.scalar_type());
}

std::optional<at::Tensor> like(const at::Tensor* parameter, const at::Tensor& x) {
  if (parameter == nullptr) return std::nullopt;
  return like(*parameter, x);
}

/// Norms on the CPU mix float32 gains with half-width activations; the CUDA operators want one type.
at::Tensor gain_for(const at::Tensor& gain, const at::Tensor& x) {
  return x.is_cpu() ? gain : like(gain, x);
}

/// (N, C) as (N, C, 1, ...), to be added to a feature map.
at::Tensor per_voxel(at::Tensor vectors, const at::Tensor& x) {
  while (vectors.dim() < x.dim()) vectors = vectors.unsqueeze(-1);
  return vectors;
}

}  // namespace

Conv::Conv(const ConvOptions& options)
    : options_(options), weight_(add_parameter("weight", weight_shape(options), conv_init(options))) {
  if (options.bias)
    bias_ = &add_parameter("bias", {options.out}, options.normal_start > 0 ? Init{} : conv_init(options));
}

at::Tensor Conv::forward(const at::Tensor& x) const {
  const auto per_axis = [this](int64_t value) { return Shape(static_cast<size_t>(options_.rank), value); };
  return at::convolution(x, like(weight_, x), like(bias_, x), per_axis(options_.stride), per_axis(options_.padding),
                         per_axis(1), options_.transposed, per_axis(options_.output_padding), 1);
}

int64_t Conv::output_length(int64_t length) const {
  const ConvOptions& o = options_;
  if (o.transposed) return (length - 1) * o.stride - 2 * o.padding + o.kernel + o.output_padding;
  return (length + 2 * o.padding - o.kernel) / o.stride + 1;
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, double eps)
    : groups_(groups),
      eps_(eps),
      weight_(add_parameter("weight", {channels}, Init::ones(), Role::Exact)),
      bias_(add_parameter("bias", {channels}, {}, Role::Exact)) {}

at::Tensor GroupNorm::forward(const at::Tensor& x) const {
  return at::group_norm(x, groups_, gain_for(weight_, x), gain_for(bias_, x), eps_);
}

at::Tensor GroupNorm::forward_silu(const at::Tensor& x, const at::Tensor& shift) const {
  at::Tensor h = x.to(at::kFloat);
  if (shift.defined()) h = h.add(per_voxel(shift, x));
  return silu(at::group_norm(h, groups_, weight_, bias_, eps_)).to(x.scalar_type());
}

LayerNorm::LayerNorm(int64_t channels, double eps)
    : eps_(eps),
      weight_(add_parameter("weight", {channels}, Init::ones(), Role::Exact)),
      bias_(add_parameter("bias", {channels}, {}, Role::Exact)) {}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.sizes(), gain_for(weight_, x), gain_for(bias_, x), eps_);
}

InstanceNorm::InstanceNorm(int64_t channels, bool affine, double eps) : eps_(eps) {
  if (!affine) return;
  weight_ = &add_parameter("weight", {channels}, Init::ones(), Role::Exact);
  bias_ = &add_parameter("bias", {channels}, {}, Role::Exact);
}

at::Tensor InstanceNorm::forward(const at::Tensor& x) const {
  return at::instance_norm(x, like(weight_, x), like(bias_, x), {}, {}, /*use_input_stats=*/true, kMomentum, eps_,
                           /*cudnn_enabled=*/true);
}

BatchNorm::BatchNorm(int64_t channels, bool affine, Init gain_start, double eps)
    : eps_(eps),
      weight_(affine ? &add_parameter("weight", {channels}, gain_start, Role::Exact) : nullptr),
      bias_(affine ? &add_parameter("bias", {channels}, {}, Role::Exact) : nullptr),
      running_mean_(add_parameter("running_mean", {channels}, {}, Role::Buffer)),
      running_var_(add_parameter("running_var", {channels}, Init::ones(), Role::Buffer)),
      num_batches_tracked_(add_parameter("num_batches_tracked", {}, {}, Role::Buffer, at::kLong)) {}

at::Tensor BatchNorm::forward(const at::Tensor& x) const {
  if (training()) num_batches_tracked_.add_(1);
  const auto given = [](const at::Tensor* tensor) { return tensor == nullptr ? std::nullopt : std::optional(*tensor); };
  return at::batch_norm(x, given(weight_), given(bias_), running_mean_, running_var_, training(), kMomentum, eps_,
                        /*cudnn_enabled=*/true);
}

Linear::Linear(int64_t in, int64_t out, bool bias, Role role)
    : weight_(add_parameter("weight", {out, in}, uniform_by_fan_in(in), role)) {
  if (bias) bias_ = &add_parameter("bias", {out}, uniform_by_fan_in(in), role);
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  return at::linear(x, like(weight_, x), like(bias_, x));
}

Embedding::Embedding(int64_t count, int64_t dim)
    : count_(count), weight_(add_parameter("weight", {count, dim}, {Init::Kind::Normal, 1.0}, Role::Exact)) {}

at::Tensor Embedding::forward(const at::Tensor& labels) const {
  const int64_t lowest = labels.min().item<int64_t>();
  const int64_t highest = labels.max().item<int64_t>();
  support::require(lowest >= 0 && highest < count_, "class label {} is outside 0..{}", lowest < 0 ? lowest : highest,
                   count_ - 1);
  return at::embedding(weight_, labels);
}

EmbeddingMlp::EmbeddingMlp(int64_t in, int64_t dim)
    : first_(add<Linear>("0", in, dim, true, Role::Exact)), second_(add<Linear>("2", dim, dim, true, Role::Exact)) {}

at::Tensor EmbeddingMlp::forward(const at::Tensor& x) const {
  return second_.forward(silu(first_.forward(x)));
}

}  // namespace medgen::nn
