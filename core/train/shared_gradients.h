// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/component/gradient_exchange.h"
#include "core/parallel/device_sums.h"
#include "core/parallel/group.h"

#include <cstdint>

namespace medgen {

/// Gradients summed over the processes of a group.
class SharedGradients : public GradientExchange {
 public:
  /// @param weight  of this process's rows in the mean over the batch
  SharedGradients(Group& group, double weight) : group_(group), weight_(weight) {}

  double share() const override { return weight_; }

  void begin_sum(const medgen_tensor_t& tensor, void* stream) override;
  void finish() override;

  /// Elements that were summed. Gradients that nobody waited for, or none at all: the trainer cannot do it.
  /// @throws PluginError
  void require_used() const;

  std::uint64_t summed() const { return summed_; }

 private:
  void wait_for_device();

  Group& group_;
  double weight_;
  std::uint64_t summed_ = 0;
  DeviceSums* on_device_ = nullptr;  ///< once gradients lay on a GPU
  bool waiting_ = false;
};

}  // namespace medgen
