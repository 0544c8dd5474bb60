// SPDX-License-Identifier: Apache-2.0
// The softmax of attention over keys that come block by block: each row keeps its largest score and its sum of
// exponentials, and what was mixed before is scaled when a larger score comes. Source: Milakov and Gimelshein 2018,
// "Online normalizer calculation for softmax", algorithm 3. The CPU alone: cuDNN has its own.
#pragma once

#include "kernels/numeric.h"

namespace medgen::kernels {

/// Rows of one block of scores, which become exp(score - largest); the rest lies as it was left by the block before.
struct SoftmaxRows {
  float* scores;  ///< [rows][keys]
  std::int64_t rows, keys;
  float* largest;  ///< [rows], at first -infinity
  float* sums;     ///< [rows], at first 0
  float* mixed;    ///< [rows][channels], at first 0
  std::int64_t channels;
};

void softmax_rows(const SoftmaxRows& block);

}  // namespace medgen::kernels
