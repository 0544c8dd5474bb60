// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/widened.h"

#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/row_products.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

namespace medgen::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using OptionalTensor = std::optional<at::Tensor>;

constexpr int64_t kRowsAtATime = 1 << 14;  ///< that are widened for a gradient

class WidenedConv : public torch::autograd::Function<WidenedConv> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const OptionalTensor& bias, const ConvForm& form) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    context->saved_data["stride"] = form.stride;
    context->saved_data["padding"] = form.padding;
    context->saved_data["output_padding"] = form.output_padding;
    context->saved_data["transposed"] = form.transposed;
    const std::vector<int64_t> dilation(form.stride.size(), 1);
    return channels_last(at::convolution(x.to(at::kFloat), weight, bias, form.stride, form.padding, dilation,
                                         form.transposed, form.output_padding, 1)
                             .to(x.scalar_type()));
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const auto ints = [&](const char* name) { return context->saved_data[name].toIntVector(); };
    const std::vector<int64_t> stride = ints("stride"), dilation(stride.size(), 1);
    const bool bias = context->saved_data["bias"].toBool();
    const std::array<bool, 3> wanted{context->needs_input_grad(0), context->needs_input_grad(1),
                                     bias && context->needs_input_grad(2)};
    auto [dx, dg, db] = at::convolution_backward(
        channels_last(gradients[0].to(at::kFloat)), x.to(at::kFloat), weight,
        bias ? at::OptionalIntArrayRef(std::vector<int64_t>{gradients[0].size(1)}) : std::nullopt, stride,
        ints("padding"), dilation, context->saved_data["transposed"].toBool(), ints("output_padding"), 1, wanted);
    return {dx.defined() ? dx.to(x.scalar_type()) : dx, dg, db, {}};
  }
};

at::Tensor rows_of(const at::Tensor& x) {
  return x.reshape({-1, x.size(-1)});
}

class WidenedLinear : public torch::autograd::Function<WidenedLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const OptionalTensor& bias, bool many) {
    context->save_for_backward({x, weight});
    context->saved_data["bias"] = bias.has_value();
    return linear(x, weight, bias.value_or(at::Tensor()), many);
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = gradients[0].to(x.scalar_type()).contiguous();
    tensor_list result(4);
    if (context->needs_input_grad(0)) result[0] = linear(dy, weight.t(), {}, true);
    if (context->needs_input_grad(1)) result[1] = weight_gradient(rows_of(x), rows_of(dy));
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2))
      result[2] = rows_of(dy).sum(0, false, at::kFloat);
    return result;
  }

 private:
  static at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
    at::Tensor sum = at::zeros({dy.size(1), x.size(1)}, at::kFloat);
    for (int64_t from = 0; from < x.size(0); from += kRowsAtATime) {
      const int64_t count = std::min(kRowsAtATime, x.size(0) - from);
      sum.addmm_(dy.narrow(0, from, count).to(at::kFloat).t(), x.narrow(0, from, count).to(at::kFloat));
    }
    return sum;
  }
};

}  // namespace

bool can_widen(const at::Tensor& x, const at::Tensor& weight) {
  return at::GradMode::is_enabled() && x.scalar_type() != at::kFloat && weight.scalar_type() == at::kFloat &&
         product_type(x.scalar_type(), x.device()) == at::kFloat;
}

at::Tensor widened_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const ConvForm& form) {
  return WidenedConv::apply(x, weight, given(bias), form);
}

at::Tensor widened_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, bool many) {
  return WidenedLinear::apply(x, weight, given(bias), many);
}

}  // namespace medgen::nn
