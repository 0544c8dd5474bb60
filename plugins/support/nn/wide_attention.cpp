// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/wide_attention.h"

#include "plugins/support/nn/brgemm.h"
#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/winograd.h"

#include "kernels/softmax.h"

#include <ATen/core/grad_mode.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace medgen::nn {
namespace {

constexpr int64_t kQueries = 64, kKeys = 256;  ///< of one block of scores

/// Attention of float32 tokens.
struct Attention {
  const float* q;  ///< [sample][query][channel], divided by sqrt(d)
  const float* k;  ///< [sample][channel][key]
  const float* v;  ///< [sample][key][channel]
  float* y;        ///< as q
  int64_t samples, queries, keys, heads, head_channels;

  void run() const {
    const int64_t blocks = ceil_div(queries, kQueries);
    at::parallel_for(0, samples * heads * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) block(i / blocks / heads, i / blocks % heads, i % blocks * kQueries);
    });
  }

 private:
  int64_t channels() const { return heads * head_channels; }

  void block(int64_t sample, int64_t head, int64_t first) const {
    const int64_t rows = std::min(kQueries, queries - first), begin = head * head_channels;
    const float* const queries_of_block = q + (sample * queries + first) * channels() + begin;
    float* const scores = kept_memory(kQueries * (kKeys + head_channels + 2));
    float* const mixed = scores + kQueries * kKeys;
    float* const largest = mixed + kQueries * head_channels;
    float* const sums = largest + kQueries;
    std::fill_n(largest, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sums, rows, 0.0F);
    std::fill_n(mixed, rows * head_channels, 0.0F);
    for (int64_t key = 0; key < keys; key += kKeys) {
      const int64_t count = std::min(kKeys, keys - key);
      multiply({rows, count, head_channels}, {queries_of_block, channels()},
               {k + (sample * channels() + begin) * keys + key, keys}, {scores, count}, false);
      kernels::softmax_rows({scores, rows, count, largest, sums, mixed, head_channels});
      multiply({rows, head_channels, count}, {scores, count},
               {v + (sample * keys + key) * channels() + begin, channels()}, {mixed, head_channels}, true);
    }
    for (int64_t row = 0; row < rows; ++row) {
      float* const to = y + (sample * queries + first + row) * channels() + begin;
      for (int64_t c = 0; c < head_channels; ++c) to[c] = mixed[row * head_channels + c] / sums[row];
    }
  }
};

at::Tensor copied(const at::Tensor& x, at::ScalarType dtype) {
  return result_array(x.sizes(), dtype).copy_(x);
}

}  // namespace

bool prefers_wide_attention(const at::Tensor& q) {
  return q.is_cpu() && !at::GradMode::is_enabled() && has_kernel_type(q) && prefers_float(q.scalar_type());
}

at::Tensor wide_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads) {
  RECORD_USER_SCOPE_WITH_INPUTS("medgen::wide_attention", (std::vector<c10::IValue>{q, k, v, heads}));
  const int64_t head_channels = q.size(2) / heads;
  const at::Tensor queries = copied(q, at::kFloat).mul_(1 / std::sqrt(static_cast<double>(head_channels)));
  const at::Tensor keys = copied(k.transpose(1, 2), at::kFloat);
  const at::Tensor values = v.scalar_type() == at::kFloat ? v.contiguous() : copied(v, at::kFloat);
  const at::Tensor y = result_array(q.sizes(), at::kFloat);
  Attention{queries.const_data_ptr<float>(),
            keys.const_data_ptr<float>(),
            values.const_data_ptr<float>(),
            y.mutable_data_ptr<float>(),
            q.size(0),
            q.size(1),
            k.size(1),
            heads,
            head_channels}
      .run();
  return q.scalar_type() == at::kFloat ? y : copied(y, q.scalar_type());
}

}  // namespace medgen::nn
