// SPDX-License-Identifier: Apache-2.0
// Linear layers and convolutions of one voxel in float32 on feature maps of any type: rows are widened in the first
// cache and results rounded once. LibTorch's operators would convert whole maps, there and back.
#pragma once

#include "plugins/support/nn/ops.h"

namespace medgen::nn {

/// Whether put_row_products and row_products take x (..., in): on the CPU, without gradients, float32 or bfloat16, rows
/// without gaps. To put a result in place, or to add it, they need no pass over the map besides; LibTorch makes it
/// beside, the bias first.
bool takes_row_products(const at::Tensor& x);

/// Whether they are also the fastest way to a result of its own, for many rows: float32, or bfloat16 where that is
/// computed in float32 (nn/products.h).
bool prefers_row_products(const at::Tensor& x);

/// x W^T + bias for every row: x (..., in), weight (out, in), bias (out) or undefined -> (..., out) of the type of x. A
/// row's numbers are the same to the bit whatever other rows are made with it, and for any number of threads.
at::Tensor row_products(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// The same for x of any type and device, by LibTorch where that is faster or gradients are wanted: `many` says whether
/// x has so many rows that its weights are worth another order.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool many);

/// y = that, or y += that; y (..., out) is float32 or bfloat16 and has no gaps.
void put_row_products(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y,
                      Result result);

}  // namespace medgen::nn
