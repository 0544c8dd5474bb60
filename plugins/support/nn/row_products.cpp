// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/row_products.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"

#include "kernels/launch.h"
#include "kernels/rows.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>

namespace medgen::nn {
namespace {

constexpr int64_t kBlockRows = 128, kColumns = 64;  ///< of one product

template <typename In, typename Out, bool kAdd>
struct Product {
  const In* x;
  const float* weight;  ///< (in, out)
  const float* bias;
  Out* y;
  int64_t rows, in, out;

  void run() const {
    at::parallel_for(0, ceil_div(rows, kBlockRows), 1, [&](int64_t begin, int64_t end) {
      float* const memory = kept_memory(kBlockRows * (in + kColumns));
      for (int64_t i = begin; i < end; ++i) block(i * kBlockRows, std::min(kBlockRows, rows - i * kBlockRows), memory);
    });
  }

 private:
  void block(int64_t first, int64_t count, float* memory) const {
    kernels::launch(kernels::Cpu{}, kernels::ConvertRows<In, float>{x + first * in, in, memory, count, in});
    float* const sums = memory + kBlockRows * in;
    for (int64_t k = 0; k < out; k += kColumns) {
      const int64_t width = std::min(kColumns, out - k);
      multiply({count, width, in}, {memory, in}, {weight + k, out}, {sums, width}, false);
      kernels::launch(kernels::Cpu{},
                      kernels::FinishRows<Out, kAdd>{sums, bias + k, y + first * out + k, out, count, width});
    }
  }
};

template <bool kAdd>
void multiply_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::row_products", (std::vector<c10::IValue>{x, weight}));
  const at::Tensor matrix = weight.to(at::kFloat).t().contiguous();
  const at::Tensor offset = bias.defined() ? bias.to(at::kFloat) : at::zeros({weight.size(0)}, at::kFloat);
  by_type(x, [&]<typename In>(In*) {
    by_type(y, [&]<typename Out>(Out*) {
      Product<In, Out, kAdd>{static_cast<const In*>(x.const_data_ptr()),
                             matrix.const_data_ptr<float>(),
                             offset.const_data_ptr<float>(),
                             static_cast<Out*>(y.mutable_data_ptr()),
                             x.numel() / x.size(-1),
                             x.size(-1),
                             weight.size(0)}
          .run();
    });
  });
}

}  // namespace

bool takes_row_products(const at::Tensor& x) {
  return has_brgemm() && x.is_cpu() && !at::GradMode::is_enabled() && has_kernel_type(x) && x.is_contiguous();
}

bool prefers_row_products(const at::Tensor& x) {
  return takes_row_products(x) && product_type(x.scalar_type(), x.device()) == at::kFloat;
}

at::Tensor row_products(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = weight.size(0);
  const at::Tensor y = result_array(shape, x.scalar_type());
  put_row_products(x, weight, bias, y, Result::Replace);
  return y;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool many) {
  if (many && prefers_row_products(x)) return row_products(x, weight, bias);
  const at::Tensor in = for_products(x);
  const at::Tensor offset = bias.defined() ? bias.to(in.device(), in.scalar_type()) : bias;
  return at::linear(in, weight.to(in.device(), in.scalar_type()), given(offset)).to(x.scalar_type());
}

void put_row_products(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& y,
                      Result result) {
  result == Result::Add ? multiply_rows<true>(x, weight, bias, y) : multiply_rows<false>(x, weight, bias, y);
}

}  // namespace medgen::nn
