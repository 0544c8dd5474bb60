// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

namespace medgen {

class Conditioner : public virtual Component {
 public:
  virtual bool has_encode() const = 0;
  virtual bool has_step() const = 0;
  /// Once per window: the user's inputs to conditions.
  virtual TensorMap encode(const CallContext& context, const Inputs& in) = 0;
  /// At every evaluation: "x", "timesteps" and the conditions to further conditions.
  virtual TensorMap step(const CallContext& context, const TensorMap& in) = 0;
};

}  // namespace medgen
