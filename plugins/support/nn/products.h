// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// The type in which numbers of `type` are multiplied on `device`: the same, or float32 where the processor has no
/// products for it. bfloat16 wants AVX-512 and float16 AVX512-FP16; without, LibTorch takes tens of times as long as in
/// float32, and its sums hang on the shape.
at::ScalarType product_type(at::ScalarType type, at::Device device);

/// x in that type. Layers multiply this and round what comes out once, so that half-width activations take half the
/// memory on any processor.
at::Tensor for_products(const at::Tensor& x);

}  // namespace medgen::nn
