// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/fused_conv.h"

#include "plugins/support/nn/large_memory.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include <omp.h>

namespace medgen::nn {
namespace {

using Scalars = c10::List<std::optional<c10::Scalar>>;
using Ints = c10::IntArrayRef;

/// LibTorch has no C++ functions for these operators, only names.
template <typename Signature>
c10::TypedOperatorHandle<Signature> operator_named(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

bool has_operators() {
  const auto has = [](const char* name, const char* overload) {
    return c10::Dispatcher::singleton().findSchema({name, overload}).has_value();
  };
  return at::hasMKLDNN() && has("mkldnn::_convolution_pointwise", "") &&
         has("mkldnn::_convolution_pointwise_", "binary") && has("mkldnn::_reorder_convolution_weight", "") &&
         has("mkldnn::_convolution_transpose_pointwise", "") &&
         has("mkldnn::_reorder_convolution_transpose_weight", "");
}

/// What oneDNN is called with computes in the calling thread alone, as long as this lives.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }

  ~OneThread() { omp_set_num_threads(threads_); }

  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int threads_ = omp_get_max_threads();
};

constexpr int64_t kPartChannels = 64;

/// Packed weights stay, and what is freed about them would stay as long.
at::Tensor without_freed_blocks(at::Tensor packed) {
  release_freed_blocks();
  return packed;
}

std::vector<int64_t> all(const at::Tensor& x, int64_t value) {
  return std::vector<int64_t>(static_cast<size_t>(x.dim() - 2), value);
}

}  // namespace

bool can_fuse_conv(const at::Tensor& x) {
  static const bool operators = has_operators();
  if (!operators || !x.is_cpu() || at::GradMode::is_enabled() || !at::globalContext().userEnabledMkldnn()) return false;
  const at::ScalarType type = x.scalar_type();
  return (type == at::kFloat || type == at::kBFloat16) && product_type(type, x.device()) == type;
}

at::Tensor fused_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                      at::IntArrayRef stride) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, Ints, Ints, Ints,
                               int64_t, std::string_view, Scalars, std::optional<std::string_view>);
  static const auto convolve = operator_named<Signature>("mkldnn::_convolution_pointwise");
  return channels_last(convolve.call(channels_last(x), weight, given(bias), padding, stride, all(x, 1), 1, "none",
                                     Scalars(), std::nullopt));
}

void fused_conv_add(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                    at::IntArrayRef stride, const at::Tensor& y) {
  using Signature = at::Tensor&(at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                Ints, Ints, Ints, int64_t, std::string_view, std::optional<at::Scalar>,
                                std::optional<std::string_view>, Scalars, std::optional<std::string_view>);
  static const auto convolve = operator_named<Signature>("mkldnn::_convolution_pointwise_", "binary");
  at::Tensor sum = y;
  convolve.call(sum, channels_last(x), weight, given(bias), padding, stride, all(x, 1), 1, "add", at::Scalar(1.0),
                std::nullopt, Scalars(), std::nullopt);
}

at::Tensor fused_conv_transpose(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                at::IntArrayRef padding, at::IntArrayRef stride) {
  using Signature = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, Ints, Ints, Ints,
                               Ints, int64_t, std::string_view, Scalars, std::optional<std::string_view>);
  static const auto convolve = operator_named<Signature>("mkldnn::_convolution_transpose_pointwise");
  return channels_last(convolve.call(channels_last(x), weight, given(bias), padding, all(x, 0), stride, all(x, 1), 1,
                                     "none", Scalars(), std::nullopt));
}

at::Tensor packed_weight(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                         const at::Tensor& x) {
  using Signature = at::Tensor(const at::Tensor&, Ints, Ints, Ints, int64_t, c10::OptionalArrayRef<int64_t>);
  static const auto pack = operator_named<Signature>("mkldnn::_reorder_convolution_weight");
  return without_freed_blocks(pack.call(weight, padding, stride, all(x, 1), 1, x.sizes()));
}

at::Tensor packed_transposed_weight(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                                    const at::Tensor& x) {
  using Signature = at::Tensor(const at::Tensor&, Ints, Ints, Ints, Ints, int64_t, c10::OptionalArrayRef<int64_t>);
  static const auto pack = operator_named<Signature>("mkldnn::_reorder_convolution_transpose_weight");
  return without_freed_blocks(pack.call(weight, padding, all(x, 0), stride, all(x, 1), 1, x.sizes()));
}

PartedConv::PartedConv(int64_t out_channels)
    : packed_(static_cast<size_t>((out_channels + kPartChannels - 1) / kPartChannels)) {}

at::Tensor PartedConv::forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                               at::IntArrayRef padding, at::IntArrayRef stride) const {
  const at::Tensor in = channels_last(x);
  std::vector<at::Tensor> results(packed_.size());
  at::parallel_for(0, static_cast<int64_t>(packed_.size()), 1, [&](int64_t begin, int64_t end) {
    const at::NoGradGuard no_grad;
    const OneThread alone;
    for (int64_t part = begin; part < end; ++part) {
      const int64_t from = part * kPartChannels, channels = std::min(kPartChannels, weight.size(0) - from);
      const auto i = static_cast<size_t>(part);
      const at::Tensor packed = packed_[i].of(weight, in.scalar_type(), [&] {
        return packed_weight(weight.narrow(0, from, channels).contiguous(), padding, stride, in);
      });
      const at::Tensor offset = bias.defined() ? bias.narrow(0, from, channels) : bias;
      results[i] = fused_conv(in, packed, offset, padding, stride);
    }
  });
  return results.size() == 1 ? results.front() : channels_last(at::cat(results, 1));
}

}  // namespace medgen::nn
