// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/products.h"

namespace medgen::nn {
namespace {

#if defined(__x86_64__)
/// Intel's processors without AMX take twice as long for bfloat16 as for float32 (vdpbf16ps runs at a quarter of the
/// rate of its two float32 units); AMD's take half as long.
bool computes_bfloat16() {
  return __builtin_cpu_supports("amx-bf16") || (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd"));
}

bool computes_float16() {
  return __builtin_cpu_supports("avx512fp16");
}
#else
bool computes_bfloat16() {
  return false;
}

bool computes_float16() {
  return false;
}
#endif

}  // namespace

at::ScalarType product_type(at::ScalarType type, at::Device device) {
  static const bool bfloat16 = computes_bfloat16(), float16 = computes_float16();
  if (!device.is_cpu()) return type;
  if (type == at::kBFloat16) return bfloat16 ? type : at::kFloat;
  if (type == at::kHalf) return float16 ? type : at::kFloat;
  return type;
}

at::Tensor for_products(const at::Tensor& x) {
  return x.to(product_type(x.scalar_type(), x.device()));
}

}  // namespace medgen::nn
