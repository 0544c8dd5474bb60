// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/tensor.h>

namespace medgen {

/// The exchange of gradients in one call of a trainer's step; medgen_gradients_t for the host.
class GradientExchange {
 public:
  GradientExchange() = default;
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;
  virtual ~GradientExchange() = default;

  /// The weight of this process's share of the batch.
  virtual double share() const = 0;
  /// Begins to replace a dense float32 tensor by its sum over all processes. @throws DataError, DeviceError
  virtual void begin_sum(const medgen_tensor_t& tensor, void* stream) = 0;
  /// Waits for all sums that were begun. @throws Cancelled
  virtual void finish() = 0;
};

}  // namespace medgen
