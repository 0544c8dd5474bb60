// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/fused_conv.h"

#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

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

std::optional<at::Tensor> given(const at::Tensor& bias) {
  return bias.defined() ? std::optional(bias) : std::nullopt;
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
  return pack.call(weight, padding, stride, all(x, 1), 1, x.sizes());
}

at::Tensor packed_transposed_weight(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                                    const at::Tensor& x) {
  using Signature = at::Tensor(const at::Tensor&, Ints, Ints, Ints, Ints, int64_t, c10::OptionalArrayRef<int64_t>);
  static const auto pack = operator_named<Signature>("mkldnn::_reorder_convolution_transpose_weight");
  return pack.call(weight, padding, all(x, 0), stride, all(x, 1), 1, x.sizes());
}

}  // namespace medgen::nn
