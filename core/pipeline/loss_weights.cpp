// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/loss_weights.h"

#include "core/base/error.h"

namespace medgen {

LossWeights LossWeights::read(const ConfigNode& step, const LabelTable& labels) {
  LossWeights result;
  if (!step.contains("loss_weights")) return result;
  for (const auto& [name, weight] : step.at("loss_weights").members()) {
    try {
      result.weights_[labels.id_of(name)] = weight.as<float>();
    } catch (const DataError& error) {
      weight.fail("cannot be weighted: {}", error.what());
    }
  }
  return result;
}

Tensor LossWeights::on(const Tensor& mask, const Shape& spatial) const {
  const Tensor labels = mask.to(DType::I64);
  const auto ids = labels.values<std::int64_t>();
  const Shape fine(mask.shape().begin() + 2, mask.shape().end());
  check(fine.size() == 3 && spatial.size() == 3, "a label map and a latent of three axes");
  Tensor result(DType::F32, {1, 1, spatial[0], spatial[1], spatial[2]});
  const auto out = result.values<float>();
  std::size_t i = 0;
  for (std::int64_t x = 0; x < spatial[0]; ++x) {
    for (std::int64_t y = 0; y < spatial[1]; ++y) {
      for (std::int64_t z = 0; z < spatial[2]; ++z) {
        const std::int64_t row = x * fine[0] / spatial[0] * fine[1] + y * fine[1] / spatial[1];
        const auto found = weights_.find(ids[static_cast<std::size_t>(row * fine[2] + z * fine[2] / spatial[2])]);
        out[i++] = found == weights_.end() ? 1.0F : found->second;
      }
    }
  }
  return result;
}

}  // namespace medgen
