// SPDX-License-Identifier: Apache-2.0
#include "kernels/softmax.h"

#include "kernels/cpu/clones.h"
#include "kernels/cpu/lanes.h"

namespace medgen::kernels {
namespace {

MEDGEN_KERNEL float larger(float a, float b) {
  return a > b ? a : b;
}

MEDGEN_KERNEL float largest_of(const float* scores, std::int64_t keys, float largest) {
  Lanes parts = Lanes{} + largest;
  std::int64_t key = 0;
  for (; key + kLanes <= keys; key += kLanes) {
    const Lanes some = load_lanes(scores + key);
    parts = some > parts ? some : parts;
  }
  for (; key < keys; ++key) largest = larger(scores[key], largest);
  for (std::int64_t i = 0; i < kLanes; ++i) largest = larger(parts[i], largest);
  return largest;
}

/// Returns the sum of what the scores become.
MEDGEN_KERNEL float exponentials_of(float* scores, std::int64_t keys, float largest) {
  Lanes parts{};
  float sum = 0;
  std::int64_t key = 0;
  for (; key + kLanes <= keys; key += kLanes) {
    const Lanes some = exponential(load_lanes(scores + key) - largest);
    store_lanes(some, scores + key);
    parts += some;
  }
  for (; key < keys; ++key) sum += scores[key] = exponential(scores[key] - largest);
  for (std::int64_t i = 0; i < kLanes; ++i) sum += parts[i];
  return sum;
}

MEDGEN_CLONES void run(const SoftmaxRows& block) {
  for (std::int64_t row = 0; row < block.rows; ++row) {
    float* const scores = block.scores + row * block.keys;
    const float before = block.largest[row];
    const float largest = largest_of(scores, block.keys, before);
    const float sum = exponentials_of(scores, block.keys, largest);
    const float scale = exponential(before - largest);
    block.largest[row] = largest;
    block.sums[row] = block.sums[row] * scale + sum;
    if (largest == before) continue;
    float* const mixed = block.mixed + row * block.channels;
    for (std::int64_t c = 0; c < block.channels; ++c) mixed[c] *= scale;
  }
}

}  // namespace

void softmax_rows(const SoftmaxRows& block) {
  run(block);
}

}  // namespace medgen::kernels
