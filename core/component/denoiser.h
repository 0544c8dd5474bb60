// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

namespace medgen {

class Denoiser : public virtual Component {
 public:
  /// Conditions that stay the same for the following `predict` calls.
  virtual void prepare(const CallContext& context, const TensorMap& conditions) = 0;
  /// `in`: "x" (N, C, spatial...), "timesteps" (N), conditions. Returns "out" (N, C or 2C, spatial...).
  virtual Tensor predict(const CallContext& context, const TensorMap& in) = 0;
};

}  // namespace medgen
