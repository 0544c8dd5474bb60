// SPDX-License-Identifier: Apache-2.0
#include "core/augment/intensity.h"

#include "core/augment/draws.h"
#include "core/volume/axis_order.h"

#include <algorithm>
#include <cmath>

namespace medgen::augmentation {
namespace {

constexpr int kDegree = 3;

/// Legendre polynomials 0 to 3 on `count` points from -1 to 1.
std::array<std::vector<double>, kDegree + 1> legendre(std::int64_t count) {
  std::array<std::vector<double>, kDegree + 1> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double x = count == 1 ? -1 : -1 + 2 * static_cast<double>(i) / static_cast<double>(count - 1);
    values[0].push_back(1);
    values[1].push_back(x);
    values[2].push_back((3 * x * x - 1) / 2);
    values[3].push_back((5 * x * x * x - 3 * x) / 2);
  }
  return values;
}

/// Draws for one kind of change: the chance first.
template <typename Change>
void maybe(const AugmentOptions::Range& range, const char* purpose, std::uint64_t seed, std::uint64_t number,
           Change change) {
  if (range.probability == 0) return;
  Draws draws(seed, number, purpose, 2);
  if (draws.chance(range.probability)) change(draws.within(range.low, range.high));
}

std::vector<double> draw_knots(Draws& draws, int count) {
  std::vector<double> knots(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) knots[static_cast<std::size_t>(i)] = static_cast<double>(i) / (count - 1);
  for (std::size_t i = 1; i + 1 < knots.size(); ++i) knots[i] = draws.within(knots[i - 1], knots[i + 1]);
  return knots;
}

}  // namespace

void apply_bias_field(Tensor& image, std::span<const double> coefficients) {
  const Size3 size = xyz_of(image.shape());
  const auto lx = legendre(size[0]), ly = legendre(size[1]), lz = legendre(size[2]);
  float* voxel = image.values<float>().data();
  const std::int64_t channels = image.size() / (size[0] * size[1] * size[2]);
  for (std::int64_t row = 0; row < channels * size[2] * size[1]; ++row) {
    const auto y = static_cast<std::size_t>(row % size[1]);
    const auto z = static_cast<std::size_t>(row / size[1] % size[2]);
    std::array<double, kDegree + 1> along_x{};
    std::size_t next = 0;
    for (std::size_t i = 0; i <= kDegree; ++i) {
      for (std::size_t j = 0; i + j <= kDegree; ++j) {
        for (std::size_t k = 0; i + j + k <= kDegree; ++k) along_x[k] += coefficients[next++] * lz[i][z] * ly[j][y];
      }
    }
    for (std::size_t x = 0; x < lx[0].size(); ++x, ++voxel) {
      const double field = along_x[0] + along_x[1] * lx[1][x] + along_x[2] * lx[2][x] + along_x[3] * lx[3][x];
      *voxel = static_cast<float>(*voxel * std::exp(field));
    }
  }
}

void apply_gamma(Tensor& image, double gamma) {
  const auto values = image.values<float>();
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double from = *low, range = static_cast<double>(*high) - from;
  if (range == 0) return;
  for (float& v : values) v = static_cast<float>(std::pow((v - from) / range, gamma) * range + from);
}

void apply_histogram_map(Tensor& image, std::span<const double> values) {
  const auto voxels = image.values<float>();
  const auto [low, high] = std::minmax_element(voxels.begin(), voxels.end());
  const double from = *low, range = static_cast<double>(*high) - from;
  if (range == 0) return;
  const auto pieces = static_cast<double>(values.size() - 1);
  for (float& v : voxels) {
    const double place = std::clamp((v - from) / range, 0.0, 1.0) * pieces;
    const auto knot = std::min(static_cast<std::size_t>(place), values.size() - 2);
    const double fraction = place - static_cast<double>(knot);
    v = static_cast<float>((values[knot] + fraction * (values[knot + 1] - values[knot])) * range + from);
  }
}

void change_intensity(Tensor& image, const AugmentOptions& options, std::uint64_t seed, std::uint64_t number) {
  const auto values = image.values<float>();
  const auto& bias = options.bias_field;
  if (Draws draws(seed, number, "augment.bias_field", 1 + kBiasCoefficients); draws.chance(bias.probability)) {
    std::vector<double> coefficients;
    for (std::int64_t i = 0; i < kBiasCoefficients; ++i) coefficients.push_back(draws.within(bias.low, bias.high));
    apply_bias_field(image, coefficients);
  }
  maybe(options.gibbs, "augment.gibbs", seed, number, [&](double alpha) { apply_gibbs(image, alpha); });
  maybe(options.gamma, "augment.gamma", seed, number, [&](double gamma) { apply_gamma(image, gamma); });
  const auto& shift = options.histogram_shift;
  if (Draws draws(seed, number, "augment.histogram", 1 + shift.control_points); draws.chance(shift.probability)) {
    apply_histogram_map(image, draw_knots(draws, shift.control_points));
  }
  maybe(options.scale_intensity, "augment.scale", seed, number, [&](double factor) {
    for (float& v : values) v = static_cast<float>(v * (1 + factor));
  });
  maybe(options.shift_intensity, "augment.shift", seed, number, [&](double offset) {
    for (float& v : values) v = static_cast<float>(v + offset);
  });
}

}  // namespace medgen::augmentation
