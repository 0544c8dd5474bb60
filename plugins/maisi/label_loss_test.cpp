// SPDX-License-Identifier: Apache-2.0
#include "plugins/maisi/label_loss.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/TensorOperators.h>
#include <catch2/catch.hpp>

using Catch::Matchers::Contains;
using medgen::maisi::label_cross_entropy;
using medgen::maisi::LabelCoding;

namespace {

/// Labels 0, 3, 200 in turn.
at::Tensor mask() {
  at::Tensor labels = at::zeros({2, 1, 2, 3, 4});
  auto* const values = labels.mutable_data_ptr<float>();
  for (int i = 0; i < labels.numel(); ++i) values[i] = i % 3 == 0 ? 0.0F : i % 3 == 1 ? 3.0F : 200.0F;
  return labels;
}

}  // namespace

TEST_CASE("label loss: cross-entropy and its gradient are torch's, whatever the memory format", "[unit][maisi]") {
  const auto format = GENERATE(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast3d);
  const at::Tensor weight = at::randn({2, 7, 4, 5, 6}).contiguous(format).requires_grad_(true);
  const at::Tensor classes = at::randint(7, {2, 4, 5, 6}, at::kLong);
  const at::Tensor want = at::cross_entropy_loss(weight * 3, classes);
  (0.5 * want).backward();
  const at::Tensor gradient = weight.grad().clone();
  weight.mutable_grad().reset();
  const at::Tensor got = label_cross_entropy(weight * 3, classes);  // the product's memory becomes its gradient
  CHECK(got.item<double>() == Approx(want.item<double>()).epsilon(1e-6));
  (0.5 * got).backward();
  CHECK(weight.grad().allclose(gradient, 1e-5, 1e-8));
}

TEST_CASE("label loss: the gradient takes the logits' memory", "[unit][maisi]") {
  const at::Tensor weight = at::randn({1, 3, 2, 2, 2}).requires_grad_(true);
  const at::Tensor logits = weight + 0;
  const at::Tensor loss = label_cross_entropy(logits, at::zeros({1, 2, 2, 2}, at::kLong));
  CHECK(logits.detach().sum(1).abs().max().item<float>() < 1e-5F);  // softmax - one-hot
}

TEST_CASE("label loss: logits of any size are safe", "[unit][maisi]") {
  const at::Tensor weight = at::full({1, 2, 1, 1, 1}, 1e30).requires_grad_(true);
  const at::Tensor loss = label_cross_entropy(weight * 1, at::zeros({1, 1, 1, 1}, at::kLong));
  CHECK(loss.item<float>() == Approx(0.6931472));
}

TEST_CASE("label loss: shapes that do not fit are refused", "[unit][maisi]") {
  const auto loss = [](at::IntArrayRef logits, at::IntArrayRef classes) {
    return label_cross_entropy(at::zeros(logits), at::zeros(classes, at::kLong));
  };
  CHECK_THROWS_WITH(loss({1, 2, 4, 4, 4}, {1, 4, 4, 5}), Contains("multiples of the compression"));
  CHECK_THROWS_WITH(loss({1, 2, 4, 4, 4}, {2, 4, 4, 4}), Contains("multiples of the compression"));
}

TEST_CASE("label coding: planes are the label's bits and classes its place in the list", "[unit][maisi]") {
  const LabelCoding coding(8, {200, 0, 3});
  const at::Tensor planes = coding.planes(mask());
  CHECK(planes.sizes() == at::IntArrayRef({2, 8, 2, 3, 4}));
  at::Tensor sum = at::zeros({2, 2, 3, 4});
  for (std::int64_t bit = 0; bit < 8; ++bit) sum.add_(planes.select(1, bit), std::int64_t{1} << bit);
  CHECK(sum.equal(mask().select(1, 0)));
  const at::Tensor classes = coding.classes(mask());
  CHECK(classes[0][0][0][0].item<std::int64_t>() == 1);
  CHECK(classes[0][0][0][1].item<std::int64_t>() == 2);
  CHECK(classes[0][0][0][2].item<std::int64_t>() == 0);
}

TEST_CASE("label coding: the label of the largest logit comes back, whatever the memory format", "[unit][maisi]") {
  const LabelCoding coding(8, {200, 0, 3});
  at::Tensor logits = at::zeros({2, 3, 2, 3, 4});
  logits.scatter_(1, coding.classes(mask()).unsqueeze(1), 1.0);
  logits = logits.contiguous(GENERATE(at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast3d));
  const at::Tensor labels = at::zeros_like(mask());
  coding.labels_into(logits, labels);
  CHECK(labels.equal(mask()));
}

TEST_CASE("label coding: of equal logits the first decides", "[unit][maisi]") {
  const at::Tensor labels = at::zeros({1, 1, 2, 3, 4});
  LabelCoding(8, {200, 0, 3}).labels_into(at::zeros({1, 3, 2, 3, 4}), labels);
  CHECK((labels == 200).all().item<bool>());
}

TEST_CASE("label coding: labels that are no class, and classes that the planes cannot hold, are refused",
          "[unit][maisi]") {
  const LabelCoding coding(8, {0, 3, 100});
  CHECK_THROWS_WITH(coding.classes(mask()), Contains("the label 200"));
  CHECK_THROWS_WITH(LabelCoding(8, {0, 3, 201}).classes(mask()), Contains("the label 200"));
  CHECK_THROWS_WITH(coding.classes(mask() - 1), Contains("the label -1"));
  CHECK_THROWS_WITH(coding.classes(mask().squeeze(1)), Contains("shape"));
  CHECK_THROWS_WITH(LabelCoding(7, {0}).planes(mask()), Contains("the label 200; 7 bit planes"));
  CHECK_THROWS_WITH(LabelCoding(2, {0, 4}), Contains("cannot hold the label 4"));
  CHECK_THROWS_WITH(LabelCoding(40, {0}), Contains("more than labels have bits"));
}
