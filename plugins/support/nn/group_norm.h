// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/feature_map.h"

#include <ATen/core/Tensor.h>

#include <vector>

namespace medgen::nn {

/// Mean and 1 / sqrt(variance + eps) of every group of channels.
struct GroupStatistics {
  std::vector<double> mean, scale;
};

/// From the sums of every channel over `voxels` voxels; with `shift`, of x + shift (a float for each channel).
GroupStatistics group_statistics(const FeatureMap::Sums& sums, int64_t voxels, int64_t groups, double eps,
                                 const float* shift = nullptr);

/// What a normalisation does.
struct NormOptions {
  int64_t groups;
  double eps;
  bool with_silu;
};

/// norm(x + shift), with SiLU where asked, under autograd: one pass for the sums and one for the result on each way,
/// and nothing kept but x. For tensors the kernels can read (has_planes); shift (N, C) float32 or undefined.
at::Tensor differentiable_norm(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& weight,
                               const at::Tensor& bias, const NormOptions& options);

}  // namespace medgen::nn
