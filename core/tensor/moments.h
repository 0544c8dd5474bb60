// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

namespace medgen {

/// Sum and sum of squares of numbers, in double.
class Moments {
 public:
  /// The elements of a tensor, read as float32.
  void add(const Tensor& tensor);

  /// Of the population; may be NaN or, by rounding, a little below 0.
  double variance() const { return squares_ / count_ - (sum_ / count_) * (sum_ / count_); }

 private:
  double sum_ = 0, squares_ = 0, count_ = 0;
};

}  // namespace medgen
