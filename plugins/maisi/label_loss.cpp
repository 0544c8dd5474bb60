// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/label_loss.h"

#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace medgen::maisi {
namespace {

using support::require;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Turns logits into softmax - one-hot where they lie, and returns the sum of -log p of the right classes.
double gradient_in_place(const at::Tensor& logits, const at::Tensor& classes) {
  double loss = 0;
  for (std::int64_t n = 0; n < logits.size(0); ++n) {
    for (std::int64_t x = 0; x < logits.size(2); ++x) {
      const at::Tensor slab = logits.select(0, n).select(1, x);                 // (C, Y, Z)
      const at::Tensor right = classes.select(0, n).select(0, x).unsqueeze(0);  // (1, Y, Z)
      at::Tensor p = at::log_softmax(slab, 0);
      loss -= p.gather(0, right).sum(at::kDouble).item<double>();
      p.exp_().scatter_add_(0, right, at::full(right.sizes(), -1.0, p.options()));
      slab.copy_(p);
    }
  }
  return loss;
}

void check_label_map(const at::Tensor& mask) {
  require(mask.dim() == 5 && mask.size(1) == 1 && mask.numel() > 0, "a label map wants the shape (N, 1, X, Y, Z)");
}

class LabelCrossEntropy : public torch::autograd::Function<LabelCrossEntropy> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& classes) {
    const auto count = static_cast<double>(classes.numel());
    const double loss = gradient_in_place(logits, classes) / count;
    context->save_for_backward({logits.detach()});
    context->saved_data["count"] = count;
    return at::full({}, loss, logits.options());
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor saved = context->get_saved_variables().front();
    return {saved.mul_(gradients.front() / context->saved_data["count"].toDouble()), at::Tensor()};
  }
};

}  // namespace

LabelCoding::LabelCoding(std::int64_t planes, std::vector<std::int64_t> classes)
    : planes_(planes), classes_(std::move(classes)) {
  require(planes_ < 32, "{} bit planes are more than labels have bits", planes_);
  for (const std::int64_t label : classes_) {
    require(label >= 0 && label < std::int64_t{1} << planes_, "classes: {} bit planes cannot hold the label {}",
            planes_, label);
  }
}

at::Tensor LabelCoding::planes(const at::Tensor& mask) const {
  check_label_map(mask);
  const at::Tensor labels = mask.select(1, 0).to(at::kLong);
  const std::int64_t first = labels.min().item<std::int64_t>(), last = labels.max().item<std::int64_t>();
  require(first >= 0 && last < std::int64_t{1} << planes_, "the label map has the label {}; {} bit planes hold 0 to {}",
          first < 0 ? first : last, planes_, (std::int64_t{1} << planes_) - 1);
  std::vector<at::Tensor> planes;
  for (std::int64_t bit = 0; bit < planes_; ++bit) {
    planes.push_back(labels.bitwise_right_shift(bit).bitwise_and(1).to(at::kFloat));
  }
  return at::stack(planes, 1);
}

at::Tensor LabelCoding::classes(const at::Tensor& mask) const {
  check_label_map(mask);
  const at::Tensor labels = mask.select(1, 0).to(at::kLong);
  const std::int64_t most = *std::max_element(classes_.begin(), classes_.end());
  at::Tensor table = at::full({most + 1}, -1, at::kLong);
  for (std::size_t i = 0; i < classes_.size(); ++i) table[classes_[i]].fill_(static_cast<std::int64_t>(i));
  const std::int64_t first = labels.min().item<std::int64_t>(), last = labels.max().item<std::int64_t>();
  require(first >= 0 && last <= most, "the label map has the label {}, which is none of the model's classes",
          first < 0 ? first : last);
  const at::Tensor indices = table.to(labels.device()).index_select(0, labels.flatten()).reshape(labels.sizes());
  if (indices.min().item<std::int64_t>() < 0) {
    const at::Tensor unknown = labels.masked_select(indices < 0);
    require(false, "the label map has the label {}, which is none of the model's classes",
            unknown[0].item<std::int64_t>());
  }
  return indices;
}

void LabelCoding::labels_into(const at::Tensor& logits, const at::Tensor& out) const {
  const at::Tensor table = at::tensor(classes_, at::kFloat).to(logits.device());
  for (std::int64_t x = 0; x < logits.size(2); ++x) {  // indices are twice as wide as labels
    const at::Tensor indices = logits.select(2, x).argmax(1, /*keepdim=*/true);
    out.select(2, x).copy_(table.index_select(0, indices.flatten()).reshape(indices.sizes()));
  }
}

at::Tensor label_cross_entropy(const at::Tensor& logits, const at::Tensor& classes) {
  require(logits.dim() == 5 && classes.dim() == 4 && logits.size(0) == classes.size(0) &&
              logits.sizes().slice(2) == classes.sizes().slice(1),
          "the label map has another shape than the network's result: its axes must be multiples of the compression");
  return LabelCrossEntropy::apply(logits, classes);
}

}  // namespace medgen::maisi
