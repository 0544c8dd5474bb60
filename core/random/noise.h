// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <cstdint>
#include <string>

namespace medgen {

enum class Distribution {
  Normal,   ///< N(0,1)
  Uniform,  ///< [0,1)
};

/// Which noise: two different keys give independent noise, equal keys the same bits (docs/numerics.md).
struct NoiseKey {
  std::uint64_t seed = 0;
  std::uint32_t sample = 0;  ///< of batch row 0; row b has sample + b
  std::string purpose;       ///< "init", "renoise" ...
  std::uint32_t step = 0;
};

/// Fills a float32 or float64 tensor (N, ...) with noise; element e of row b is a function of (seed, sample + b,
/// purpose, step, e) alone, whatever the batch, the number of threads and the machine. float32 noise is float64 noise
/// rounded.
/// @param threads  0 = as many as the machine has.
/// @throws DataError for another dtype, a tensor without axes, 2^34 or more elements in a row, or a sample beyond 32
/// bits.
void fill_noise(Tensor& tensor, const NoiseKey& key, Distribution distribution = Distribution::Normal,
                unsigned threads = 0);

/// Fills `patch` (N, extent...) with the box [origin, origin + extent) of the noise that a tensor (N, whole...) would
/// have, so that tiles and windows see the noise of the whole.
/// @param whole   shape of one sample of the whole array; as many axes as the patch has after the batch.
/// @param origin  first index of the box on each of these axes.
/// @throws DataError as fill_noise, and when the box is not inside.
void fill_noise_box(Tensor& patch, const Shape& whole, const Shape& origin, const NoiseKey& key,
                    Distribution distribution = Distribution::Normal, unsigned threads = 0);

}  // namespace medgen
