// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/module.h"

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
  bool zero = false;        ///< starts at zero
  double normal_start = 0;  ///< when positive, weights start as N(0, normal_start^2) and the bias at zero
};

/// Convolution or transposed convolution; starts as PyTorch's does. (N, in, ...) -> (N, out, ...), in the type of x.
class Conv : public Module {
 public:
  explicit Conv(const ConvOptions& options);

  at::Tensor forward(const at::Tensor& x) const;

  /// Length of the result along an axis of `length`.
  int64_t output_length(int64_t length) const;

 private:
  ConvOptions options_;
  const at::Tensor& weight_;
  const at::Tensor* bias_ = nullptr;
};

/// Group normalisation with float32 statistics whatever the type of x. (N, C, ...) -> same.
class GroupNorm : public Module {
 public:
  GroupNorm(int64_t groups, int64_t channels, double eps);

  at::Tensor forward(const at::Tensor& x) const;

  /// silu(norm(x + shift)), shift (N, C) float32 or undefined. Rounded once: a shift far larger than x, as time
  /// embeddings are, would otherwise cost half-width activations most of their digits.
  at::Tensor forward_silu(const at::Tensor& x, const at::Tensor& shift = {}) const;

 private:
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

  /// @throws InvalidInput when a label is outside [0, count)
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
