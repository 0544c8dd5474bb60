// SPDX-License-Identifier: Apache-2.0
// What our products of float32 matrices share: oneDNN's product of one thread on blocks in the cache, as LibTorch
// exports it, and memory for such blocks.
#pragma once

#include "kernels/numeric.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <c10/util/Exception.h>

#include <vector>

namespace medgen::nn {

/// Whether `multiply` may be called on this processor.
inline bool has_brgemm() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && at::globalContext().userEnabledMkldnn();
#else
  return false;
#endif
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

/// Memory of this thread for so many numbers, kept from call to call: fresh memory would be cleared each time. The next
/// call gives the same.
inline float* kept_memory(int64_t numbers) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < numbers) memory = std::vector<float>(static_cast<size_t>(numbers));
  return memory.data();
}

/// Whether the kernels have the type of x.
inline bool has_kernel_type(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
}

/// Calls `call` with a null pointer of the kernels' name for the type of x.
template <typename Call>
auto by_type(const at::Tensor& x, const Call& call) {
  if (x.scalar_type() == at::kFloat) return call(static_cast<float*>(nullptr));
  TORCH_CHECK(x.scalar_type() == at::kBFloat16, "float32 or bfloat16 is wanted, not ", x.scalar_type());
  return call(static_cast<kernels::Bf16*>(nullptr));
}

}  // namespace medgen::nn
