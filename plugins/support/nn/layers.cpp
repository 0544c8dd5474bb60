// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/layers.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/differentiable_conv.h"
#include "plugins/support/nn/group_norm.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/row_products.h"
#include "plugins/support/nn/widened.h"
#include "plugins/support/nn/winograd.h"

#include "kernels/group_norm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/instance_norm.h>
#include <ATen/ops/layer_norm.h>

#include <algorithm>
#include <cmath>

namespace medgen::nn {
namespace {

constexpr double kMomentum = 0.1;  // of running statistics
/// A weight is packed at each call, which costs as much as to convolve some hundred voxels, unless there are fewer than
/// these: then a packed copy is kept.
constexpr int64_t kFewVoxels = 8192;

/// A doubling convolution makes its larger kernel at each step of training, which saves as much as it costs at about
/// half of these.
constexpr int64_t kDoubledVoxels = 128;

/// From so many rows on, a linear layer's weights are worth another order.
constexpr int64_t kManyRows = 256;

/// The same of a feature map, which does not hang on how many planes it has: slabs of a volume are computed as it is.
bool has_large_planes(const at::Tensor& x) {
  return x.size(-1) * x.size(-2) >= kManyRows / 2;
}

bool has_few_voxels(const at::Tensor& x) {
  return x.numel() <= kFewVoxels * x.size(1);
}

/// PyTorch's start of convolutions and linear layers: U(-b, b), b = 1 / sqrt(fan in), for weight and bias alike.
Init uniform_by_fan_in(int64_t fan_in) {
  return {Init::Kind::Uniform, 1.0 / std::sqrt(static_cast<double>(fan_in))};
}

Shape weight_shape(const ConvOptions& o) {
  Shape shape = o.transposed ? Shape{o.in, o.out} : Shape{o.out, o.in};
  shape.insert(shape.end(), static_cast<size_t>(o.rank), o.kernel);
  return shape;
}

int64_t weight_numel(const ConvOptions& o) {
  int64_t numel = 1;
  for (const int64_t length : weight_shape(o)) numel *= length;
  return numel;
}

Init conv_init(const ConvOptions& o) {
  if (o.zero) return {};
  if (o.normal_start > 0) return {Init::Kind::Normal, o.normal_start};
  int64_t fan_in = o.transposed ? o.out : o.in;
  for (int64_t axis = 0; axis < o.rank; ++axis) fan_in *= o.kernel;
  return uniform_by_fan_in(fan_in);
}

/// The parameter in the type of the activations and on their device: itself when it was stored so, else cast (and
/// gradients flow back).
at::Tensor like(const at::Tensor& parameter, const at::Tensor& x) {
  return parameter.to(x.device(), x.scalar_type());
}

std::optional<at::Tensor> like(const at::Tensor* parameter, const at::Tensor& x) {
  if (parameter == nullptr) return std::nullopt;
  return like(*parameter, x);
}

at::Tensor or_undefined(const std::optional<at::Tensor>& tensor) {
  return tensor.value_or(at::Tensor());
}

at::Tensor or_undefined(const at::Tensor* parameter) {
  return parameter == nullptr ? at::Tensor() : *parameter;
}

/// As nn::linear, with gradients where they are wanted.
at::Tensor differentiable_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor* bias, bool many) {
  const auto multiply = can_widen(x, weight) ? widened_linear : linear;
  return multiply(x, weight, or_undefined(bias), many);
}

/// Norms on the CPU mix float32 gains with half-width activations; the CUDA operators want one type.
at::Tensor gain_for(const at::Tensor& gain, const at::Tensor& x) {
  return x.is_cpu() ? gain : like(gain, x);
}

/// LibTorch's kernel for channels-last arrays takes the variance as E[x^2] - E[x]^2 in float32, which loses the digits
/// where a mean is large, as those of channels shifted by a time embedding are. Its kernel for contiguous arrays does
/// not; half-width activations have no such digits to lose.
at::Tensor for_exact_statistics(const at::Tensor& x, at::ScalarType activations) {
  return activations == at::kFloat ? x.contiguous() : x;
}

/// (N, C) as (N, C, 1, ...), to be added to a feature map.
at::Tensor per_voxel(at::Tensor vectors, const at::Tensor& x) {
  while (vectors.dim() < x.dim()) vectors = vectors.unsqueeze(-1);
  return vectors;
}

}  // namespace

Conv::Conv(const ConvOptions& options)
    : options_(options),
      weight_(add_parameter("weight", weight_shape(options), conv_init(options), options.role)),
      parted_(options.out) {
  if (options.bias)
    bias_ = &add_parameter("bias", {options.out}, options.normal_start > 0 ? Init{} : conv_init(options), options.role);
}

at::ScalarType Conv::result_type(const at::Tensor& x) const {
  return precision(x.scalar_type());
}

at::Tensor Conv::unrounded(const at::Tensor& x, const Shape& padding, const Shape& output_padding) const {
  const bool wide = options_.role == Role::Exact || loses_weight_gradient(x);
  // Of single voxels, LibTorch convolves with another library when it has one thread, which rounds differently.
  if (is_pointwise())
    return differentiable_linear((wide ? x.to(at::kFloat) : x).movedim(1, -1), weight_.flatten(1), bias_,
                                 has_large_planes(x))
        .movedim(-1, 1);
  if (!wide && has_own_gradient(x) && padding == Shape(padding.size(), 1))
    return differentiable_conv(x, weight_, or_undefined(bias_));
  if (!wide && can_widen(x, weight_))
    return widened_conv(x, weight_, or_undefined(bias_), {strides(), padding, output_padding, options_.transposed});
  const at::Tensor in = wide ? x.to(at::kFloat) : for_products(x);
  if (wide && filters_exactly(in, padding)) return differentiable_conv(in, weight_, or_undefined(bias_));
  if (in_parts(in)) return parted_.forward(in, like(weight_, in), or_undefined(like(bias_, in)), padding, strides());
  if (!options_.transposed && can_fuse_conv(in))
    return fused_conv(in, weight_for(in, padding), or_undefined(like(bias_, in)), padding, strides());
  const auto axes = static_cast<size_t>(options_.rank);
  return at::convolution(in, like(weight_, in), like(bias_, in), strides(), padding, Shape(axes, 1),
                         options_.transposed, output_padding, 1);
}

bool Conv::is_pointwise() const {
  return options_.kernel == 1 && options_.stride == 1 && options_.padding == 0 && !options_.transposed;
}

bool Conv::has_wide_form() const {
  return options_.kernel == 3 && options_.stride == 1 && options_.padding == 1 && !options_.transposed;
}

bool Conv::by_winograd(const PlaneForm& planes, at::ScalarType type) const {
  return has_wide_form() && prefers_winograd(planes, precision(type));
}

bool Conv::is_wide(const at::Tensor& x) const {
  return !at::GradMode::is_enabled() && has_wide_form() && prefers_wide_conv(x, products(x), Pass::Inference);
}

at::ScalarType Conv::products(const at::Tensor& x) const {
  const bool wide = options_.role == Role::Wide && prefers_float(x.scalar_type());
  return wide ? at::kFloat : precision(x.scalar_type());
}

int64_t Conv::kept_bytes(const PlaneForm& planes, int64_t count, at::ScalarType type) const {
  if (!prefers_float(precision(type)) || !has_wide_form()) return 0;
  return wide_conv_memory(planes, count * planes.rows * planes.columns, options_.in, options_.out);
}

at::Tensor Conv::wide(const at::Tensor& x, int64_t first_padding) const {
  const int64_t outside = options_.rank == 3 ? 1 - first_padding : 0;
  const at::Tensor y = empty_map(x.narrow(2, outside, x.size(2) - 2 * outside), options_.out, result_type(x));
  wide_conv(x, weight_, or_undefined(bias_), first_padding, y, Result::Replace, products(x));
  return y;
}

bool Conv::in_parts(const at::Tensor& x) const {
  return !options_.transposed && x.scalar_type() == at::kFloat && has_few_voxels(x) && can_fuse_conv(x);
}

at::Tensor Conv::weight_for(const at::Tensor& x, const Shape& padding) const {
  if (!has_few_voxels(x)) return like(weight_, x);
  return packed_.of(weight_, x.scalar_type(), [&] { return packed_weight(like(weight_, x), padding, strides(), x); });
}

bool Conv::adds_in_place(const at::Tensor& x, const at::Tensor& y) const {
  const at::ScalarType type = result_type(x);
  return !options_.transposed && x.scalar_type() == type && y.scalar_type() == type && can_fuse_conv(x) &&
         !in_parts(x) && y.is_contiguous(y.suggest_memory_format()) &&
         y.suggest_memory_format() != at::MemoryFormat::Contiguous;
}

bool Conv::put_exactly(const at::Tensor& x, const at::Tensor& y, int64_t first_padding, Result result) const {
  if (!has_planes(y)) return false;
  if (is_wide(x)) {
    wide_conv(x, weight_, or_undefined(bias_), first_padding, y, result, products(x));
    return true;
  }
  const at::Tensor rows = x.movedim(1, -1);
  if (!is_pointwise() || options_.role == Role::Exact || !has_large_planes(x) || !takes_row_products(rows))
    return false;
  put_row_products(rows, weight_.flatten(1), or_undefined(bias_), y.movedim(1, -1), result);
  return true;
}

at::Tensor Conv::forward_add(const at::Tensor& x, at::Tensor y) const {
  const sdk::Range range = this->range();
  const auto axes = static_cast<size_t>(options_.rank);
  const Shape padding(axes, options_.padding);
  if (!at::GradMode::is_enabled()) y = channels_last(y);
  if (put_exactly(x, y, options_.padding, Result::Add)) return y;
  if (adds_in_place(x, y)) {
    fused_conv_add(x, weight_for(x, padding), or_undefined(like(bias_, x)), padding, strides(), y);
    return y;
  }
  const at::Tensor added = unrounded(x, padding, Shape(axes, options_.output_padding));
  return (added.scalar_type() == at::kFloat ? added.add_(y) : y.add(added)).to(y.scalar_type());
}

void Conv::put_slab(const at::Tensor& x, const at::Tensor& y, Result result) const {
  const sdk::Range range = this->range();
  if (put_exactly(x, y, 0, result)) return;
  if (result == Result::Replace) y.zero_();
  if (!adds_in_place(x, y)) {
    y.add_(unrounded_slab(x, y.size(2)));
    return;
  }
  Shape padding(static_cast<size_t>(options_.rank), options_.padding);
  padding[0] = 0;
  fused_conv_add(x, weight_for(x, padding), or_undefined(like(bias_, x)), padding, strides(), y);
}

at::Tensor Conv::forward_upsampled(const at::Tensor& x) const {
  if (has_own_gradient(x) && can_differentiate_doubling_conv(x) && x.numel() >= kDoubledVoxels * x.size(1)) {
    const sdk::Range range = this->range();
    return differentiable_doubling_conv(x, weight_, or_undefined(bias_));
  }
  const PlaneForm planes = plane_form(x);
  const bool winograd = x.is_cpu() && by_winograd({planes.rank, 2 * planes.rows, 2 * planes.columns}, x.scalar_type());
  if (options_.role == Role::Exact || winograd) return forward(upsample_nearest_2x(x));
  const at::Tensor in = for_products(x);
  if (!can_fuse_conv(in)) return forward(upsample_nearest_2x(x));
  const auto axes = static_cast<size_t>(options_.rank);
  const Shape padding(axes, 1), stride(axes, 2);
  const at::Tensor weight = upsampled_.of(weight_, in.scalar_type(), [&] {
    const at::Tensor kernel = doubling_kernel(weight_.to(at::kFloat)).to(in.scalar_type());
    return packed_transposed_weight(channels_last(kernel), padding, stride, in);
  });
  return fused_conv_transpose(in, weight, or_undefined(like(bias_, in)), padding, stride).to(x.scalar_type());
}

bool Conv::has_own_gradient(const at::Tensor& x) const {
  return has_wide_form() && weight_.scalar_type() == at::kFloat && can_differentiate_conv(x);
}

bool Conv::filters_exactly(const at::Tensor& x, const Shape& padding) const {
  return compute_dtype() == at::kBFloat16 && has_wide_form() && padding == Shape(padding.size(), 1) &&
         weight_.scalar_type() == at::kFloat && can_differentiate_exact_conv(x);
}

bool Conv::loses_weight_gradient(const at::Tensor& x) const {
  if (!at::GradMode::is_enabled() || !x.is_cpu() || x.scalar_type() != at::kBFloat16 || options_.rank != 3 ||
      has_own_gradient(x))
    return false;
  const auto is_short = [&](int64_t length) {
    return (options_.transposed ? output_length(length) : length) < options_.kernel;
  };
  return std::ranges::any_of(x.sizes().slice(2), is_short);
}

at::Tensor Conv::forward(const at::Tensor& x) const {
  const sdk::Range range = this->range();
  if (is_wide(x)) return wide(x, 1);
  const auto axes = static_cast<size_t>(options_.rank);
  const at::Tensor y =
      unrounded(x, Shape(axes, options_.padding), Shape(axes, options_.output_padding)).to(result_type(x));
  // Of few channels LibTorch's result may have them first; whatever is added to it would follow.
  return compute_dtype() == at::kBFloat16 && y.is_cpu() ? channels_last(y) : y;
}

at::Tensor Conv::forward_slab(const at::Tensor& x, int64_t planes) const {
  const sdk::Range range = this->range();
  if (is_wide(x)) return wide(x, 0);
  return unrounded_slab(x, planes).to(result_type(x));
}

at::Tensor Conv::unrounded_slab(const at::Tensor& x, int64_t planes) const {
  const auto axes = static_cast<size_t>(options_.rank);
  Shape padding(axes, options_.padding), output_padding(axes, options_.output_padding);
  padding[0] = 0;
  if (!options_.transposed) return unrounded(x, padding, output_padding);
  output_padding[0] = 0;
  return unrounded(x, padding, output_padding).narrow(2, options_.padding, planes);
}

double Conv::flops_per_voxel() const {
  return 2.0 * static_cast<double>(weight_numel(options_));
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

ChannelAffine GroupNorm::affine(const FeatureMap::Sums& sums, int64_t voxels) const {
  const int64_t channels = weight_.numel();
  const at::Tensor weight = weight_.cpu(), bias = bias_.cpu();
  ChannelAffine result{std::vector<float>(sums.sum.size()), std::vector<float>(sums.sum.size())};
  kernels::launch(kernels::Cpu{}, kernels::GroupAffine{.sum = sums.sum.data(),
                                                       .square = sums.squares.data(),
                                                       .channels = channels,
                                                       .per_group = channels / groups_,
                                                       .voxels = voxels,
                                                       .eps = eps_,
                                                       .shift = nullptr,
                                                       .weight = weight.const_data_ptr<float>(),
                                                       .bias = bias.const_data_ptr<float>(),
                                                       .factor = result.factor.data(),
                                                       .offset = result.offset.data()});
  return result;
}

at::Tensor GroupNorm::fused(const at::Tensor& x, bool with_silu, const at::Tensor& shift, at::ScalarType type) const {
  const at::Tensor y = empty_map(x, x.size(1), type);
  for (int64_t n = 0; n < x.size(0); ++n) {
    const at::Tensor moved = shift.defined() ? shift.select(0, shift.size(0) == 1 ? 0 : n).contiguous() : at::Tensor();
    group_normalize(as_planes(x.narrow(0, n, 1)), {weight_, bias_, groups_, eps_}, moved, with_silu,
                    as_planes(y.narrow(0, n, 1)));
  }
  return y;
}

/// Under autograd float32 keeps LibTorch's operators, which round as the published code does: a prediction that differs
/// in the last digit turns the slope of an L1 loss around wherever it meets its target. Half-width feature maps are
/// worth a copy where a layer (a transposed convolution) left them with the channels first.
bool GroupNorm::has_kernels(const at::Tensor& x) {
  if (!at::GradMode::is_enabled()) return has_planes(x);
  return x.scalar_type() == at::kBFloat16 && x.is_cpu() && (x.dim() == 4 || x.dim() == 5);
}

at::Tensor GroupNorm::with_kernels(const at::Tensor& x, bool with_silu, const at::Tensor& shift) const {
  if (!at::GradMode::is_enabled()) return fused(x, with_silu, shift, x.scalar_type());
  return differentiable_norm(channels_last(x), shift, weight_, bias_, {groups_, eps_, with_silu});
}

at::Tensor GroupNorm::forward(const at::Tensor& x) const {
  const sdk::Range range = this->range();
  if (has_kernels(x)) return with_kernels(x, false, {});
  return at::group_norm(for_exact_statistics(x, x.scalar_type()), groups_, gain_for(weight_, x), gain_for(bias_, x),
                        eps_);
}

at::Tensor GroupNorm::forward_silu(const at::Tensor& x, const at::Tensor& shift) const {
  const sdk::Range range = this->range();
  if (has_kernels(x)) return with_kernels(x, true, shift);
  at::Tensor h = x.to(at::kFloat);
  if (shift.defined()) h = h.add(per_voxel(shift, x));
  h = for_exact_statistics(h, x.scalar_type());
  return nn::silu(at::group_norm(h, groups_, weight_, bias_, eps_)).to(x.scalar_type());
}

at::Tensor GroupNorm::forward_silu_as(at::ScalarType type, const at::Tensor& x) const {
  const bool rounds = x.scalar_type() == at::kFloat && type == at::kBFloat16;
  if (!rounds || at::GradMode::is_enabled() || !has_planes(x)) return forward_silu(x.to(type));
  const sdk::Range range = this->range();
  return fused(x, true, {}, type);
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
  const sdk::Range range = this->range();
  return differentiable_linear(x, weight_, bias_, x.numel() >= kManyRows * x.size(-1));
}

Embedding::Embedding(int64_t count, int64_t dim)
    : count_(count), weight_(add_parameter("weight", {count, dim}, {Init::Kind::Normal, 1.0}, Role::Exact)) {}

void Embedding::check(const at::Tensor& labels) const {
  const int64_t lowest = labels.min().item<int64_t>();
  const int64_t highest = labels.max().item<int64_t>();
  support::require(lowest >= 0 && highest < count_, "class label {} is outside 0..{}", lowest < 0 ? lowest : highest,
                   count_ - 1);
}

at::Tensor Embedding::forward(const at::Tensor& labels) const {
  return at::embedding(weight_, labels);
}

EmbeddingMlp::EmbeddingMlp(int64_t in, int64_t dim)
    : first_(add<Linear>("0", in, dim, true, Role::Exact)), second_(add<Linear>("2", dim, dim, true, Role::Exact)) {}

at::Tensor EmbeddingMlp::forward(const at::Tensor& x) const {
  return second_.forward(nn::silu(first_.forward(x)));
}

}  // namespace medgen::nn
