// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/component.h"

namespace medgen {

class Compressor : public virtual Component {
 public:
  struct Latent {
    Tensor mean;
    Tensor sigma;  ///< empty where the latent is no distribution
  };

  virtual Latent encode(const CallContext& context, const TensorMap& in) = 0;
  virtual Tensor decode(const CallContext& context, const TensorMap& in) = 0;
  virtual Tensor prior(const CallContext& context, const Inputs& in) = 0;
};

}  // namespace medgen
