// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/tensor/tensor.h"
#include "core/volume/labels.h"

#include <cstdint>
#include <map>

namespace medgen {

/// How much the voxels of some labels count in a denoiser's loss, where others count 1: tumours are small.
class LossWeights {
 public:
  LossWeights() = default;
  /// "loss_weights" of a train step, {"hepatic tumor": 100}. @throws ConfigError for a name that `labels` lacks.
  static LossWeights read(const ConfigNode& step, const LabelTable& labels);

  bool empty() const { return weights_.empty(); }

  /// (1, 1, spatial...) float32, by the label map (1, 1, ...) at the nearest voxels of the coarser grid `spatial`.
  Tensor on(const Tensor& mask, const Shape& spatial) const;

 private:
  std::map<std::int64_t, float> weights_;
};

}  // namespace medgen
