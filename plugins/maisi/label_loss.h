// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace medgen::maisi {

/// Label maps as the mask autoencoder takes and gives them.
class LabelCoding {
 public:
  /// @param planes   of its input: plane b is bit b of the label
  /// @param classes  label ids in the order of its output channels
  LabelCoding(std::int64_t planes, std::vector<std::int64_t> classes);

  /// mask (N, 1, X, Y, Z), whole numbers in float32 -> its bit planes (N, planes, X, Y, Z) float32
  at::Tensor planes(const at::Tensor& mask) const;

  /// -> index of its class, (N, X, Y, Z) int64. @throws InvalidInput for a label that is no class
  at::Tensor classes(const at::Tensor& mask) const;

  /// logits (N, classes, X, Y, Z) -> the label of the largest, the first of equal ones, into `out` (N, 1, X, Y, Z).
  /// Thread: any.
  void labels_into(const at::Tensor& logits, const at::Tensor& out) const;

 private:
  std::int64_t planes_;
  std::vector<std::int64_t> classes_;
};

/// Mean cross-entropy of logits (N, C, X, Y, Z) and classes (N, X, Y, Z), as torch's. The gradient takes the logits'
/// memory, slab by slab, so that nothing of their size is made beside them: give it logits nobody else holds, behind an
/// operator that does not look at its result again, as a convolution. One backward pass.
at::Tensor label_cross_entropy(const at::Tensor& logits, const at::Tensor& classes);

}  // namespace medgen::maisi
