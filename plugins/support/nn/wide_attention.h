// SPDX-License-Identifier: Apache-2.0
// Attention in float32 whatever the type of the tokens, rounded once: blocks of queries against blocks of keys, which
// stay in the cache (kernels/softmax.h). Memory grows with the tokens, not with their square.
#pragma once

#include <ATen/core/Tensor.h>

namespace medgen::nn {

/// Whether wide_attention is the fastest way for queries of that type and place: on the CPU, without gradients, where
/// products are float32 or no faster for bfloat16 (AMX).
bool prefers_wide_attention(const at::Tensor& q);

/// softmax(q k^T / sqrt(d)) v for each head: q (N, L, heads * d), k and v (N, M, heads * d), float32 or bfloat16 ->
/// (N, L, heads * d) in the type of q. The same to the bit for any number of threads.
at::Tensor wide_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads);

}  // namespace medgen::nn
