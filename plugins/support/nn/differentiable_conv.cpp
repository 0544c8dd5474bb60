// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/differentiable_conv.h"

#include "plugins/support/nn/conv_gradient.h"
#include "plugins/support/nn/feature_map.h"
#include "plugins/support/nn/ops.h"
#include "plugins/support/nn/planes.h"
#include "plugins/support/nn/products.h"
#include "plugins/support/nn/wide_conv.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <tuple>
#include <vector>

namespace medgen::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using OptionalTensor = std::optional<at::Tensor>;

std::vector<int64_t> along_axes(const at::Tensor& x, int64_t value) {
  return std::vector<int64_t>(static_cast<size_t>(x.dim() - 2), value);
}

/// Along `axis`, the kernel of 3 of a convolution on voxels that each occur twice, as one of 4 of a transposed
/// convolution of stride 2: its ends meet one of the two, its middle both.
at::Tensor doubled(const at::Tensor& weight, int64_t axis) {
  const at::Tensor a = weight.narrow(axis, 0, 1), b = weight.narrow(axis, 1, 1), c = weight.narrow(axis, 2, 1);
  return at::cat({c, b.add(c), a.add(b), a}, axis);
}

/// What the gradient of a doubled kernel is to the kernel itself.
at::Tensor halved(const at::Tensor& gradient, int64_t axis) {
  const auto at = [&](int64_t i) { return gradient.narrow(axis, i, 1); };
  return at::cat({at(2).add(at(3)), at(1).add(at(2)), at(0).add(at(1))}, axis);
}

/// The sum over samples and voxels of dy, channels-last. LibTorch's would begin with a copy of it in float32.
at::Tensor bias_gradient(const at::Tensor& dy) {
  const at::Tensor gradient = at::zeros({dy.size(1)}, at::kFloat);
  auto* const values = gradient.mutable_data_ptr<float>();
  for (int64_t n = 0; n < dy.size(0); ++n) {
    const std::vector<double> sums = sums_of(as_planes(dy.narrow(0, n, 1))).sum;
    for (size_t c = 0; c < sums.size(); ++c) values[c] += static_cast<float>(sums[c]);
  }
  return gradient;
}

bool multiplies_bfloat16(const at::Tensor& x) {
  return product_type(at::kBFloat16, x.device()) == at::kBFloat16;
}

/// One convolution, plain or doubling; on the way back what is wanted of the gradients of x, weight and bias.
template <bool kDoubling>
class Convolution : public torch::autograd::Function<Convolution<kDoubling>> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const OptionalTensor& bias) {
    context->saved_data["bias"] = bias.has_value();
    if (is_wide(x)) {
      context->save_for_backward({x, weight});
      const at::Tensor y = empty_map(x, weight.size(0), x.scalar_type());
      wide_conv(x, weight, bias.value_or(at::Tensor()), 1, y, Result::Replace, x.scalar_type());
      return y;
    }
    const at::Tensor kernel = (kDoubling ? doubling_kernel(weight) : weight).to(x.scalar_type());
    const OptionalTensor offset = bias ? OptionalTensor(bias->to(x.scalar_type())) : std::nullopt;
    context->save_for_backward({x, kernel});
    return channels_last(at::convolution(x, kernel, offset, stride(x), along_axes(x, 1), along_axes(x, 1), kDoubling,
                                         along_axes(x, 0), 1));
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &kernel = saved[1];
    const at::Tensor dy = channels_last(gradients[0].to(x.scalar_type()));
    tensor_list result(3);
    if (context->needs_input_grad(0)) {
      result[0] = is_wide(x) ? wide_input_gradient(dy, kernel)
                             : std::get<0>(at::convolution_backward(dy, x, kernel, std::nullopt, stride(x),
                                                                    along_axes(x, 1), along_axes(x, 1), kDoubling,
                                                                    along_axes(x, 0), 1, {true, false, false}));
    }
    if (context->needs_input_grad(1)) result[1] = weight_gradient(x, dy);
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) result[2] = bias_gradient(dy);
    return result;
  }

 private:
  static bool is_wide(const at::Tensor& x) {
    return !kDoubling && prefers_wide_conv(x, x.scalar_type(), Pass::Training);
  }

  static std::vector<int64_t> stride(const at::Tensor& x) { return along_axes(x, kDoubling ? 2 : 1); }

  static at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
    if (is_wide(x)) return wide_weight_gradient(x, dy);
    if (!kDoubling) return conv_weight_gradient(x, dy);
    at::Tensor gradient = doubling_weight_gradient(x, dy);
    for (int64_t axis = 2; axis < gradient.dim(); ++axis) gradient = halved(gradient, axis);
    return gradient;
  }
};

}  // namespace

bool can_differentiate_conv(const at::Tensor& x) {
  if (!at::GradMode::is_enabled() || !x.is_cpu() || x.scalar_type() != at::kBFloat16) return false;
  if (x.dim() != 4 && x.dim() != 5) return false;
  return multiplies_bfloat16(x) ? has_conv_gradient(x) : prefers_wide_conv(x, x.scalar_type(), Pass::Training);
}

bool can_differentiate_exact_conv(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.scalar_type() == at::kFloat &&
         prefers_wide_conv(x, at::kFloat, Pass::Training);
}

bool can_differentiate_doubling_conv(const at::Tensor& x) {
  return can_differentiate_conv(x) && multiplies_bfloat16(x);
}

at::Tensor differentiable_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return Convolution<false>::apply(channels_last(x), weight, given(bias));
}

at::Tensor differentiable_doubling_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return Convolution<true>::apply(channels_last(x), weight, given(bias));
}

at::Tensor doubling_kernel(const at::Tensor& weight) {
  at::Tensor kernel = weight;
  for (int64_t axis = 2; axis < kernel.dim(); ++axis) kernel = doubled(kernel, axis);
  return kernel.transpose(0, 1);
}

}  // namespace medgen::nn
