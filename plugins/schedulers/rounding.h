// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

namespace medgen::schedulers {

/// Rounds as the released tables are rounded: to float32, or not at all.
struct Rounding {
  bool to_float = true;

  double operator()(double value) const { return to_float ? static_cast<double>(static_cast<float>(value)) : value; }
};

/// torch.linspace: counted from the nearer end, each value rounded once.
inline std::vector<double> linspace(double first, double last, int n, Rounding round) {
  first = round(first);
  last = round(last);
  const double step = n > 1 ? round(round(last - first) / (n - 1)) : 0.0;
  std::vector<double> values(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    values[static_cast<std::size_t>(i)] = round(i < n / 2 || n == 1 ? first + step * i : last - step * (n - 1 - i));
  }
  return values;
}

/// The nearest half-precision number, ties to even. |x| < 65504.
inline double round_to_half(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  // 11 significant bits, fewer below the smallest normal number 2^-14.
  const int unit = std::max(exponent, -13) - 11;
  return std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
}

/// x with Phi(x) = p for the standard normal distribution, 0 < p < 1: Newton's method on erfc from Hastings'
/// approximation (Abramowitz and Stegun 26.2.23), to rounding error.
inline double normal_quantile(double p) {
  const double tail = std::min(p, 1 - p);
  const double s = std::sqrt(-2 * std::log(tail));
  double x = s - (2.515517 + s * (0.802853 + s * 0.010328)) / (1 + s * (1.432788 + s * (0.189269 + s * 0.001308)));
  for (int i = 0; i < 4; ++i) {
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    x += (std::erfc(x / std::numbers::sqrt2) / 2 - tail) / density;
  }
  return p < 0.5 ? -x : x;
}

}  // namespace medgen::schedulers
