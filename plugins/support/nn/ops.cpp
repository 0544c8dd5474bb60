// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/ops.h"

#include "plugins/support/error.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/planes.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/avg_pool3d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/upsample_nearest3d.h>
#include <ATen/ops/upsample_trilinear3d.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

namespace medgen::nn {
namespace {

std::vector<int64_t> doubled(const at::Tensor& x) {
  std::vector<int64_t> size = x.sizes().slice(2).vec();
  for (int64_t& extent : size) extent *= 2;
  return size;
}

std::vector<int64_t> halved(const at::Tensor& x) {
  std::vector<int64_t> size = x.sizes().slice(2).vec();
  for (int64_t& extent : size) extent /= 2;
  return size;
}

std::vector<int64_t> channels_last_strides(at::IntArrayRef shape) {
  return shape.size() == 4 ? c10::get_channels_last_strides_2d(shape) : c10::get_channels_last_strides_3d(shape);
}

/// As many samples as x has, channels-last.
at::Tensor empty_of(const at::Tensor& x, at::IntArrayRef spatial, int64_t channels, at::ScalarType dtype) {
  std::vector<int64_t> shape{x.size(0), channels};
  shape.insert(shape.end(), spatial.begin(), spatial.end());
  if (x.is_cpu()) return result_array(shape, channels_last_strides(shape), dtype);
  return at::empty(shape, x.options().dtype(dtype).memory_format(channels_last_format(x)));
}

/// Two times the length of each axis.
at::Tensor repeated(const at::Tensor& x) {
  const at::Tensor y = empty_of(x, doubled(x), x.size(1), x.scalar_type());
  for (int64_t n = 0; n < x.size(0); ++n) upsample_nearest(as_planes(x.narrow(0, n, 1)), as_planes(y.narrow(0, n, 1)));
  return y;
}

/// Half of the length of each axis. LibTorch's operator for three axes brings the channels first, and back, and has no
/// half-width form on the CPU.
class MeanOfEight : public torch::autograd::Function<MeanOfEight> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    if (context != nullptr) context->saved_data["spatial"] = x.sizes().slice(2).vec();
    const at::Tensor y = empty_of(x, halved(x), x.size(1), x.scalar_type());
    for (int64_t n = 0; n < x.size(0); ++n) downsample_mean(as_planes(x.narrow(0, n, 1)), as_planes(y.narrow(0, n, 1)));
    return y;
  }

  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               const torch::autograd::tensor_list& gradients) {
    const at::Tensor dx = repeated(channels_last(gradients[0])).mul_(0.125);
    return {padded_to(dx, context->saved_data["spatial"].toIntVector())};
  }

 private:
  /// With zeros for the odd voxels that had no part.
  static at::Tensor padded_to(const at::Tensor& dx, const std::vector<int64_t>& spatial) {
    if (dx.sizes().slice(2) == at::IntArrayRef(spatial)) return dx;
    std::vector<int64_t> pad;  // from the last axis on
    for (size_t axis = spatial.size(); axis-- > 0;) {
      pad.insert(pad.end(), {0, spatial[axis] - dx.size(2 + static_cast<int64_t>(axis))});
    }
    return channels_last(at::constant_pad_nd(dx, pad, 0));
  }
};

}  // namespace

PlaneForm plane_form(const at::Tensor& x) {
  return {x.dim() - 2, x.size(-2), x.size(-1)};
}

at::MemoryFormat channels_last_format(const at::Tensor& x) {
  return x.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::ChannelsLast3d;
}

at::Tensor silu(at::Tensor x) {
  // In place, autograd would first copy x for its own use.
  return x.requires_grad() ? at::silu(x) : at::silu_(x);
}

at::Tensor upsample_nearest_2x(const at::Tensor& x) {
  if (x.dim() == 5 && !at::GradMode::is_enabled() && has_planes(x)) return repeated(x);
  if (x.dim() == 4) return at::upsample_nearest2d(x, doubled(x), 2.0, 2.0);
  return at::upsample_nearest3d(x, doubled(x), 2.0, 2.0, 2.0);
}

at::Tensor upsample_linear_2x(const at::Tensor& x) {
  if (x.dim() == 4) return at::upsample_bilinear2d(x, doubled(x), /*align_corners=*/false, 2.0, 2.0);
  return at::upsample_trilinear3d(x, doubled(x), /*align_corners=*/false, 2.0, 2.0, 2.0);
}

at::Tensor average_pool_2x(const at::Tensor& x) {
  for (const int64_t length : x.sizes().slice(2))
    support::require(length >= 2, "means of two voxels were asked for along an axis of {}", length);
  if (x.dim() == 4) return at::avg_pool2d(x, 2, 2);
  if (has_planes(x)) return at::GradMode::is_enabled() ? MeanOfEight::apply(x) : MeanOfEight::forward(nullptr, x);
  if (x.is_cpu() && x.scalar_type() != at::kFloat) return at::avg_pool3d(x.to(at::kFloat), 2, 2).to(x.scalar_type());
  return at::avg_pool3d(x, 2, 2);
}

at::Tensor pad_end(const at::Tensor& x) {
  std::vector<int64_t> pad;
  for (int64_t axis = 2; axis < x.dim(); ++axis) pad.insert(pad.end(), {0, 1});
  return at::constant_pad_nd(x, pad, 0);
}

at::Tensor channels_last(const at::Tensor& x) {
  return x.contiguous(channels_last_format(x));
}

at::Tensor empty_map(const at::Tensor& x, int64_t channels, at::ScalarType dtype) {
  return empty_of(x, x.sizes().slice(2), channels, dtype);
}

at::Tensor copy_of(const at::Tensor& x) {
  return empty_map(x, x.size(1), x.scalar_type()).copy_(x);
}

at::Tensor with_residual(const at::Tensor& y, const at::Tensor& x) {
  if (at::GradMode::is_enabled()) return y.add(x);
  const at::ScalarType type = c10::promoteTypes(y.scalar_type(), x.scalar_type());
  at::Tensor sum = type == y.scalar_type() ? y : empty_map(y, y.size(1), type);
  return at::add_out(sum, y, x);
}

at::Tensor join_channels(const at::Tensor& a, const at::Tensor& b) {
  if (at::GradMode::is_enabled() || a.scalar_type() != b.scalar_type()) return at::cat({a, b}, 1);
  const at::Tensor joined = empty_map(a, a.size(1) + b.size(1), a.scalar_type());
  joined.narrow(1, 0, a.size(1)).copy_(a);
  joined.narrow(1, a.size(1), b.size(1)).copy_(b);
  return joined;
}

at::Tensor as_weights(const at::Tensor& taps, int64_t rank, int64_t kernel) {
  std::vector<int64_t> shape{taps.size(0)};
  shape.insert(shape.end(), static_cast<size_t>(rank), kernel);
  shape.push_back(taps.size(2));
  return taps.view(shape).movedim(-1, 1);
}

std::optional<at::Tensor> given(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

at::Tensor to_tokens(const at::Tensor& x) {
  return x.flatten(2).transpose(1, 2);
}

at::Tensor from_tokens(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.transpose(1, 2).reshape(like.sizes());
}

at::Tensor timestep_embedding(const at::Tensor& timesteps, int64_t dim) {
  const int64_t half = dim / 2;
  const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat).device(timesteps.device());
  // In float32 and in this order, because the published code rounds so.
  const at::Tensor frequency = at::arange(half, options).mul(-std::log(10000.0)).div(half).exp();
  const at::Tensor angle = timesteps.to(at::kFloat).unsqueeze(1).mul(frequency.unsqueeze(0));
  const at::Tensor embedding = at::cat({angle.cos(), angle.sin()}, 1);
  return dim % 2 == 0 ? embedding : at::constant_pad_nd(embedding, {0, 1}, 0);
}

}  // namespace medgen::nn
