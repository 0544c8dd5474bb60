// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/augment/augment.h"

#include <span>

namespace medgen::augmentation {

/// The changes of values, in place on a float32 tensor ([c,] z, y, x).
void change_intensity(Tensor& image, const AugmentOptions& options, std::uint64_t seed, std::uint64_t number);

/// Times exp(sum of coefficient (i, j, k) L_i(z) L_j(y) L_k(x)), i + j + k <= 3, the box from -1 to 1.
void apply_bias_field(Tensor& image, std::span<const double> coefficients);
inline constexpr std::int64_t kBiasCoefficients = 20;

/// Without the frequencies farther from the middle of k-space than (1 - alpha) times the longest axis / sqrt(2):
/// ringing, as published.
void apply_gibbs(Tensor& image, double alpha);

/// ((v - min) / range)^gamma * range + min
void apply_gamma(Tensor& image, double gamma);

/// A piecewise linear map of [min, max] to itself whose inner knots, evenly spaced, go to `values` of [0, 1].
void apply_histogram_map(Tensor& image, std::span<const double> values);

}  // namespace medgen::augmentation
