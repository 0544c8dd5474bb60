// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/feature_map.h"
#include "plugins/support/nn/fused_conv.h"
#include "plugins/support/nn/module.h"
#include "plugins/support/nn/wide_conv.h"

// Shapes: N batch, C channels, spatial axes (D, H, W) or (H, W), L tokens. Activations are channels-last in memory.

namespace medgen::nn {

struct ConvOptions {
  int64_t rank = 3;  ///< spatial axes, 2 or 3
  int64_t in = 1;
  int64_t out = 1;
  int64_t kernel = 3;
  int64_t stride = 1;
  int64_t padding = 1;
  bool transposed = false;
  int64_t output_padding = 0;  ///< transposed only
  bool bias = true;
  bool zero = false;          ///< starts at zero
  double normal_start = 0;    ///< when positive, weights start as N(0, normal_start^2) and the bias at zero
  Role role = Role::Compute;  ///< Exact: float32 whatever the precision, for the few channels of inputs and outputs
};

/// Convolution or transposed convolution; starts as PyTorch's does. (N, in, ...) -> (N, out, ...), in the type of x, or
/// in float32 when its role is Exact.
class Conv : public Module {
 public:
  explicit Conv(const ConvOptions& options);

  at::Tensor forward(const at::Tensor& x) const;

  /// y + forward(x) in the type of y, without gradients in the memory of y and rounded once where the products are
  /// float32: give it a tensor nobody else holds.
  at::Tensor forward_add(const at::Tensor& x, at::Tensor y) const;

  /// forward(upsample_nearest_2x(x)), for kernels of 3 with padding 1. Where that is faster, it is one transposed
  /// convolution of kernel 4: of the 27 products a voxel of the larger map has, all but 8 share their voxel of x.
  at::Tensor forward_upsampled(const at::Tensor& x) const;

  /// The `planes` planes of the result that the planes `x` (1, in, planes, rows, columns) suffice for: the first axis
  /// is not padded. Of a transposed convolution those from the even plane on that lies at the first plane of x.
  at::Tensor forward_slab(const at::Tensor& x, int64_t planes) const;
  /// Into y those planes, or y += them, without gradients; y is (1, out, planes, rows, columns), channels-last, of any
  /// type.
  void put_slab(const at::Tensor& x, const at::Tensor& y, Result result) const;

  /// Length of the result along an axis of `length`.
  int64_t output_length(int64_t length) const;

  /// Whether maps of `type` and such planes are convolved by winograd_conv, on the CPU and without gradients: as they
  /// lie, neither reordered nor widened.
  bool by_winograd(const PlaneForm& planes, at::ScalarType type) const;

  /// Bytes that the process takes besides maps of so many such planes, and may keep for the next layer.
  int64_t kept_bytes(const PlaneForm& planes, int64_t count, at::ScalarType type) const;

  /// Multiplications and additions for each voxel of the result; transposed: of x.
  double flops_per_voxel() const;

  const ConvOptions& options() const { return options_; }

 private:
  /// The convolution as it is computed: in float32 where x's type has no products (nn/products.h).
  at::Tensor unrounded(const at::Tensor& x, const Shape& padding, const Shape& output_padding) const;
  at::Tensor unrounded_slab(const at::Tensor& x, int64_t planes) const;
  at::ScalarType result_type(const at::Tensor& x) const;
  bool is_pointwise() const;
  /// The convolution of x into y by our own products of float32; false where these are not the way.
  bool put_exactly(const at::Tensor& x, const at::Tensor& y, int64_t first_padding, Result result) const;
  /// Whether y += convolution of x is one operator of oneDNN.
  bool adds_in_place(const at::Tensor& x, const at::Tensor& y) const;
  at::Tensor weight_for(const at::Tensor& x, const Shape& padding) const;
  /// Whether x is convolved by wide_conv.
  bool is_wide(const at::Tensor& x) const;
  at::Tensor wide(const at::Tensor& x, int64_t first_padding) const;
  /// What it multiplies then.
  at::ScalarType products(const at::Tensor& x) const;
  bool has_wide_form() const;

  /// The precision asked for, which Exact ones do not follow.
  at::ScalarType precision(at::ScalarType type) const { return options_.role == Role::Exact ? at::kFloat : type; }

  /// Whether x is convolved by parted_.
  bool in_parts(const at::Tensor& x) const;

  Shape strides() const { return Shape(static_cast<size_t>(options_.rank), options_.stride); }

  /// Whether gradients go through differentiable_conv.
  bool has_own_gradient(const at::Tensor& x) const;

  /// Whether gradients of float32 maps do so too: in a bfloat16 network, whose float32 layers need not round as
  /// LibTorch.
  bool filters_exactly(const at::Tensor& x, const Shape& padding) const;

  /// On the CPU, LibTorch 2.15's bfloat16 gradient of the weights reads and writes beyond its arrays where an axis of
  /// a volume is shorter than the kernel: NaN now and then, or a crash. Those few voxels are computed in float32.
  bool loses_weight_gradient(const at::Tensor& x) const;

  ConvOptions options_;
  const at::Tensor& weight_;
  const at::Tensor* bias_ = nullptr;
  PreparedWeight packed_;
  PartedConv parted_;
  PreparedWeight upsampled_;
};

/// What normalisation does to each channel: factor x + offset.
struct ChannelAffine {
  std::vector<float> factor, offset;
};

/// Group normalisation with float32 statistics whatever the type of x. (N, C, ...) -> same.
class GroupNorm : public Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps);

  at::Tensor forward(const at::Tensor& x) const;

  /// silu(norm(x + shift)), shift (N, C) float32 or undefined. Rounded once: a shift far larger than x, as time
  /// embeddings are, would otherwise cost half-width activations most of their digits.
  at::Tensor forward_silu(const at::Tensor& x, const at::Tensor& shift = {}) const;

  /// silu(norm(x)) in `type`, for which x is rounded beforehand only where gradients are wanted.
  at::Tensor forward_silu_as(at::ScalarType type, const at::Tensor& x) const;

  /// From the sums of every channel over `voxels` voxels.
  ChannelAffine affine(const FeatureMap::Sums& sums, int64_t voxels) const;

 private:
  static bool has_kernels(const at::Tensor& x);
  at::Tensor with_kernels(const at::Tensor& x, bool with_silu, const at::Tensor& shift) const;
  /// One pass for the sums, one that normalises, without gradients. The result is of `type`.
  at::Tensor fused(const at::Tensor& x, bool with_silu, const at::Tensor& shift, at::ScalarType type) const;

  int64_t groups_;
  double eps_;
  const at::Tensor& weight_;
  const at::Tensor& bias_;
};

/// Layer normalisation over the last axis, float32 statistics. (..., C) -> same.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t channels, double eps = 1e-5);

  at::Tensor forward(const at::Tensor& x) const;

 private:
  double eps_;
  const at::Tensor& weight_;
  const at::Tensor& bias_;
};

/// Per sample and channel over the spatial axes, without running statistics. (N, C, ...) -> same.
class InstanceNorm : public Module {
 public:
  InstanceNorm(int64_t channels, bool affine, double eps = 1e-5);

  at::Tensor forward(const at::Tensor& x) const;

 private:
  double eps_;
  const at::Tensor* weight_ = nullptr;
  const at::Tensor* bias_ = nullptr;
};

/// Over batch and spatial axes: with the batch's statistics in training, which are also averaged, else with the
/// averages.
class BatchNorm : public Module {
 public:
  BatchNorm(int64_t channels, bool affine, Init gain_start, double eps = 1e-5);

  at::Tensor forward(const at::Tensor& x) const;

 private:
  double eps_;
  const at::Tensor* weight_ = nullptr;
  const at::Tensor* bias_ = nullptr;
  const at::Tensor& running_mean_;
  const at::Tensor& running_var_;
  const at::Tensor& num_batches_tracked_;
};

/// y = x W^T + b over the last axis; Role::Exact keeps the layer in float32 (time and condition embeddings).
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool bias = true, Role role = Role::Compute);

  at::Tensor forward(const at::Tensor& x) const;

 private:
  const at::Tensor& weight_;
  const at::Tensor* bias_ = nullptr;
};

/// Table of vectors, float32. labels (N) int64 -> (N, dim).
class Embedding : public Module {
 public:
  Embedding(int64_t count, int64_t dim);

  /// Waits for a device, and so is not part of forward.
  /// @throws InvalidInput when a label is outside [0, count)
  void check(const at::Tensor& labels) const;

  /// Of labels that were checked.
  at::Tensor forward(const at::Tensor& labels) const;

 private:
  int64_t count_;
  const at::Tensor& weight_;
};

/// Linear, SiLU, Linear, named "0" and "2", in float32: the time, spacing and region embeddings. (N, in) -> (N, dim).
class EmbeddingMlp : public Module {
 public:
  EmbeddingMlp(int64_t in, int64_t dim);

  at::Tensor forward(const at::Tensor& x) const;

 private:
  Linear& first_;
  Linear& second_;
};

}  // namespace medgen::nn
