// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/loss_scale.h"

#include "plugins/support/error.h"

#include <ATen/ops/empty.h>
#include <ATen/TensorOperators.h>

namespace medgen::support {
namespace {

constexpr double kGrowth = 1.5;
constexpr double kBackoff = 0.5;
constexpr std::int64_t kGrowthInterval = 2000;
constexpr double kSmallest = 1.0 / (1 << 14);  // float32 losses this much smaller would be lost as well

}  // namespace

at::Tensor LossScale::scaled(const at::Tensor& loss) const {
  return active_ ? loss * factor_ : loss;
}

void LossScale::passed() {
  if (!active_ || ++since_change_ < kGrowthInterval) return;
  factor_ = static_cast<float>(factor_ * kGrowth);  // as the checkpoint keeps it
  since_change_ = 0;
}

bool LossScale::reduce() {
  if (!active_ || factor_ <= kSmallest) return false;
  factor_ *= kBackoff;
  since_change_ = 0;
  return true;
}

at::Tensor LossScale::state() const {
  at::Tensor state = at::empty({2});
  auto* const values = state.mutable_data_ptr<float>();
  values[0] = static_cast<float>(factor_);
  values[1] = static_cast<float>(since_change_);
  return state;
}

void LossScale::restore(const at::Tensor& state) {
  require(state.numel() == 2 && state[0].item<float>() > 0, "checkpoint: the scale of the loss is damaged");
  factor_ = state[0].item<float>();
  since_change_ = static_cast<std::int64_t>(state[1].item<float>());
}

}  // namespace medgen::support
