// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/random/noise.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace medgen::augmentation {

/// Random numbers of one kind for one patch.
inline Tensor draw(std::uint64_t seed, std::uint64_t number, std::string purpose, std::int64_t count,
                   Distribution distribution = Distribution::Uniform) {
  Tensor tensor(DType::F64, {1, count});
  const auto high = static_cast<std::uint32_t>(number >> 32);
  fill_noise(tensor, {seed, high, std::move(purpose), static_cast<std::uint32_t>(number)}, distribution, 1);
  return tensor;
}

/// Uniform numbers in [0, 1), one after another.
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t number, std::string purpose, std::int64_t count)
      : values_(draw(seed, number, std::move(purpose), count)) {}

  double next() { return values_.values<double>()[next_++]; }

  bool chance(double probability) { return next() < probability; }

  double within(double low, double high) { return low + (high - low) * next(); }

 private:
  Tensor values_;
  std::size_t next_ = 0;
};

}  // namespace medgen::augmentation
