// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <medgen/abi/weights.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// Owns the weights of one component and lends them through the C ABI, read-only. It remembers which were asked for, so
/// that the host can report those nobody used. Thread: any. It outlives the components it serves, and is not moved.
class WeightStore {
 public:
  explicit WeightStore(TensorMap tensors);
  WeightStore(const WeightStore&) = delete;
  WeightStore& operator=(const WeightStore&) = delete;

  const TensorMap& tensors() const noexcept { return tensors_; }

  /// The provider to hand to a component; valid as long as this object.
  medgen_weights_t abi() const noexcept;

  /// Names that `get` was never asked for, sorted.
  std::vector<std::string> unused() const;

 private:
  struct Access;  // the C functions

  TensorMap tensors_;
  std::vector<TensorMap::const_pointer> by_index_;
  std::unique_ptr<std::atomic<bool>[]> used_;  // by index
};

}  // namespace medgen
