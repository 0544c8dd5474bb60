// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>

namespace medgen::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  explicit Held(Segment function) : segment(std::move(function)) {}

  Segment segment;
};

/// Leaves of a graph of their own, which ends at the segment's borders.
variable_list leaves(at::TensorList inputs) {
  variable_list copies;
  for (const at::Tensor& input : inputs) {
    copies.push_back(input.detach());
    copies.back().requires_grad_(input.requires_grad());
  }
  return copies;
}

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static at::Tensor forward(AutogradContext* context, const Segment& segment, at::TensorList inputs) {
    context->save_for_backward(inputs.vec());
    context->saved_data["segment"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(segment));
    // With gradients, as the second pass will be: without them layers choose other kernels, which round differently.
    const at::AutoGradMode with_gradients(true);
    return segment(leaves(inputs)).detach();
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list inputs = leaves(context->get_saved_variables());
    const auto held = context->saved_data["segment"].toCapsule();
    {
      const at::AutoGradMode with_gradients(true);
      torch::autograd::backward({static_cast<const Held&>(*held).segment(inputs)}, {gradients.front()});
    }
    variable_list result{at::Tensor()};  // the segment itself has none
    for (const at::Tensor& input : inputs) result.push_back(input.grad());
    return result;
  }
};

}  // namespace

at::Tensor checkpointed(const Segment& segment, at::TensorList inputs) {
  const bool wanted = at::GradMode::is_enabled() &&
                      std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& x) { return x.requires_grad(); });
  return wanted ? Checkpoint::apply(segment, inputs) : segment(inputs);
}

at::Tensor run_segment(const Module& owner, const Segment& segment, at::TensorList inputs) {
  return owner.checkpoints_activations() ? checkpointed(segment, inputs) : segment(inputs);
}

}  // namespace medgen::nn
