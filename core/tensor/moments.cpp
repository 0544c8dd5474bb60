// SPDX-License-Identifier: Apache-2.0
#include "core/tensor/moments.h"

namespace medgen {

void Moments::add(const Tensor& tensor) {
  const Tensor numbers = tensor.to(DType::F32);
  for (const float value : numbers.values<float>()) {
    sum_ += value;
    squares_ += double{value} * double{value};
  }
  count_ += static_cast<double>(numbers.size());
}

}  // namespace medgen
