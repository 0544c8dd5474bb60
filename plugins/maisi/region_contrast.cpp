// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/region_contrast.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/max_pool3d.h>
#include <ATen/TensorOperators.h>

namespace medgen::maisi {
namespace {

/// True within a cube of `edge` voxels round every true voxel of (N, 1, X, Y, Z).
at::Tensor dilated(const at::Tensor& region, std::int64_t edge) {
  return at::max_pool3d(region.to(at::kFloat), edge, 1, edge / 2).gt(0);
}

/// Mean over the voxels where `where` (N, 1, ...) holds, all channels; 0 where there is none.
at::Tensor mean_where(const at::Tensor& values, const at::Tensor& where) {
  const at::Tensor weight = where.to(values.scalar_type());
  return (values * weight).sum() / (weight.sum() * values.size(1)).clamp_min(1);
}

}  // namespace

RegionContrast::Terms RegionContrast::terms(const at::Tensor& with, const at::Tensor& without, const at::Tensor& target,
                                            const at::Tensor& region) const {
  const at::Tensor difference = mean_where((with - without).abs(), region);
  const at::Tensor elsewhere = dilated(region, dilation).logical_not();
  return {(margin - difference).relu() - margin, mean_where((without - target).abs(), elsewhere)};
}

at::Tensor differing_region(const at::Tensor& a, const at::Tensor& b, const at::Tensor& like) {
  at::Tensor differs = (a != b).any(1, /*keepdim=*/true);
  for (std::int64_t axis = 2; axis < differs.dim(); ++axis) {
    const std::int64_t fine = differs.size(axis), coarse = like.size(axis);
    const at::Tensor nearest = at::arange(coarse, at::kLong).mul(fine).floor_divide(coarse).to(differs.device());
    differs = differs.index_select(axis, nearest);
  }
  return differs;
}

}  // namespace medgen::maisi
