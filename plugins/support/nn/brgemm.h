// SPDX-License-Identifier: Apache-2.0
// What our products of matrices share: oneDNN's product of one thread on blocks in the cache, as LibTorch exports it.
#pragma once

#include "kernels/numeric.h"

#include <ATen/Context.h>
#include <ATen/native/CPUBlas.h>

namespace medgen::nn {

/// Whether `multiply` may be called on this processor.
inline bool has_brgemm() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && at::globalContext().userEnabledMkldnn();
#else
  return false;
#endif
}

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

struct ProductSize {
  int64_t rows, columns, inner;
};

/// Rows of numbers that begin `stride` numbers apart.
template <typename T>
struct Matrix {
  T* values;
  int64_t stride;
};

/// c = a b, or c += a b.
inline void multiply(const ProductSize& size, const Matrix<const float>& a, const Matrix<const float>& b,
                     const Matrix<float>& c, bool add) {
  at::native::cpublas::brgemm(size.rows, size.columns, size.inner, a.stride, b.stride, c.stride, add, a.values,
                              b.values, c.values);
}

/// The same of bfloat16, summed in float32, where the processor has products for it (nn/products.h): `inner` is even,
/// and the right factor lies as kernels::PairRows puts it, `stride` numbers of a row apart.
inline void multiply(const ProductSize& size, const Matrix<const kernels::Bf16>& a,
                     const Matrix<const kernels::Bf16>& b, const Matrix<float>& c, bool add) {
  at::native::cpublas::brgemm(size.rows, size.columns, size.inner, a.stride, b.stride, c.stride, add,
                              reinterpret_cast<const at::BFloat16*>(a.values),
                              reinterpret_cast<const at::BFloat16*>(b.values), c.values);
}

/// To be called by a thread behind its products: it may hold units of the processor for them.
inline void end_products() {
  at::native::cpublas::brgemm_release();
}

}  // namespace medgen::nn
