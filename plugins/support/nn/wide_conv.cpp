// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/wide_conv.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/gathered_conv.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/winograd.h"

#include <algorithm>

namespace medgen::nn {
namespace {

bool is_filtered(const PlaneForm& planes) {
  return prefers_winograd(planes, at::kFloat);
}

}  // namespace

bool prefers_gathered(int64_t voxels, at::ScalarType products, Pass pass) {
  if (!prefers_float(products) || voxels > kGatheredVoxels) return false;
  return pass == Pass::Training || product_type(products, at::kCPU) == at::kFloat;
}

bool prefers_wide_conv(const at::Tensor& x, at::ScalarType products, Pass pass) {
  if (!has_brgemm() || !x.is_cpu() || !has_kernel_type(x) || (x.dim() != 4 && x.dim() != 5)) return false;
  if (prefers_winograd(plane_form(x), products)) return true;
  return prefers_gathered(c10::multiply_integers(x.sizes().slice(2)), products, pass);
}

void wide_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t first_padding,
               const at::Tensor& y, Result result, at::ScalarType products) {
  if (is_filtered(plane_form(x))) return winograd_conv(x, weight, bias, first_padding, y, result);
  gathered_conv(x, weight, bias, first_padding, y, result, products);
}

at::Tensor wide_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  return is_filtered(plane_form(dy)) ? winograd_input_gradient(dy, weight) : gathered_input_gradient(dy, weight);
}

at::Tensor wide_weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
  const at::ScalarType products = product_type(x.scalar_type(), x.device());
  return prefers_winograd_gradient(plane_form(x), products) ? winograd_weight_gradient(x, dy)
                                                            : gathered_weight_gradient(x, dy);
}

int64_t wide_conv_memory(const PlaneForm& planes, int64_t voxels, int64_t in, int64_t out) {
  if (!has_brgemm()) return 0;
  return is_filtered(planes) ? winograd_memory(planes, in, out)
                             : gathered_memory(planes.rank, in, out, std::min(voxels, kGatheredVoxels));
}

int64_t wide_training_memory(int64_t rank, int64_t voxels, int64_t in, int64_t out, at::ScalarType products) {
  if (prefers_gathered(voxels, products, Pass::Training))
    return gathered_memory(rank, std::max(in, out), std::max(in, out), voxels);
  if (!prefers_float(products)) return 0;
  const PlaneForm largest{rank, voxels, 1};
  return winograd_memory(largest, in, out) + winograd_gradient_memory(rank, in, out);
}

}  // namespace medgen::nn
