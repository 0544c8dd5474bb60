// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace medgen::support {

/// Keeps float16 gradients above the smallest number that float16 has: the loss is multiplied by a factor, which grows
/// while gradients stay finite and is halved, the step left out, when they do not. Source: Micikevicius et al. 2018,
/// section 3.2; start and growth as MAISI's VAE was trained (methods of PyTorch's GradScaler).
class LossScale {
 public:
  /// Not active: the factor is 1 for ever.
  explicit LossScale(bool active) : active_(active) {}

  bool active() const { return active_; }

  double factor() const { return active_ ? factor_ : 1.0; }

  at::Tensor scaled(const at::Tensor& loss) const;

  /// A step had finite gradients.
  void passed();
  /// A step did not. False when the factor is not to blame: it is not active, or small already.
  bool reduce();

  /// (2) float32: for checkpoints.
  at::Tensor state() const;
  void restore(const at::Tensor& state);

 private:
  bool active_;
  double factor_ = 256;
  std::int64_t since_change_ = 0;
};

}  // namespace medgen::support
