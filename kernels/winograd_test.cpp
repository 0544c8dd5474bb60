// SPDX-License-Identifier: Apache-2.0
// Winograd's filtering against the plain sum in double.
#include "kernels/winograd.h"
#include "kernels/test_operations.h"
#include "kernels/winograd_cubes.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <functional>
#include <vector>

using namespace medgen::kernels;
using namespace medgen::kernels::testing;

namespace {

constexpr std::int64_t kPlanes = 5, kRows = 6, kColumns = 9, kIn = 16, kOut = 19, kTaps = 3;

float value_at(std::int64_t i) {
  return std::sin(static_cast<float>(i) * 0.7F);
}

std::vector<float> waves(std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = value_at(i);
  return values;
}

std::size_t place(std::int64_t plane, std::int64_t row, std::int64_t column, std::int64_t channel,
                  std::int64_t channels) {
  return static_cast<std::size_t>(((plane * kRows + row) * kColumns + column) * channels + channel);
}

/// Weights (out, in, taps, 3, 3).
double plain(const std::vector<float>& x, const std::vector<float>& g, std::int64_t plane, std::int64_t row,
             std::int64_t column, std::int64_t out) {
  double sum = 0;
  for (std::int64_t i = 0; i < kIn * kTaps * 9; ++i) {
    const std::int64_t in = i / (kTaps * 9), d = i / 9 % kTaps - 1, h = i / 3 % 3 - 1, w = i % 3 - 1;
    const bool inside = plane + d >= 0 && plane + d < kPlanes && row + h >= 0 && row + h < kRows && column + w >= 0 &&
                        column + w < kColumns;
    if (!inside) continue;
    sum += static_cast<double>(x[place(plane + d, row + h, column + w, in, kIn)]) *
           g[static_cast<std::size_t>(out * kIn * kTaps * 9 + i)];
  }
  return sum;
}

/// m = v u, summed over channels and planes.
std::vector<float> products(const std::vector<float>& v, const std::vector<float>& u, std::int64_t tiles,
                            std::int64_t plane) {
  const std::int64_t width = winograd_channels(kOut);
  std::vector<float> m(static_cast<std::size_t>(kWinogradNumbers * tiles * width));
  for (std::int64_t i = 0; i < kWinogradNumbers; ++i) {
    for (std::int64_t j = 0; j < tiles * width; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < kTaps * kIn; ++k) {
        const std::int64_t tap = k / kIn, c = k % kIn;
        const std::int64_t at = (i * (kPlanes + 2) + plane + tap) * tiles * kIn + j / width * kIn + c;
        sum += static_cast<double>(v[static_cast<std::size_t>(at)]) *
               u[static_cast<std::size_t>(((i * kTaps + tap) * kIn + c) * width + j % width)];
      }
      m[static_cast<std::size_t>(i * tiles * width + j)] = static_cast<float>(sum);
    }
  }
  return m;
}

/// y is the convolution + 0.25, or that + 0.5.
void require_convolution(const std::vector<float>& y, const std::vector<float>& x, const std::vector<float>& g,
                         bool added) {
  for (std::int64_t i = 0; i < kPlanes * kRows * kColumns * kOut; ++i) {
    const std::int64_t voxel = i / kOut, plane = voxel / (kRows * kColumns);
    const double expected =
        plain(x, g, plane, voxel / kColumns % kRows, voxel % kColumns, i % kOut) + (added ? 0.75 : 0.25);
    REQUIRE(static_cast<double>(y[static_cast<std::size_t>(i)]) == Approx(expected).margin(2e-4));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("winograd: transformed, multiplied and transformed back, it is the convolution", "[unit][kernels]",
                   float, Bf16) {
  const std::vector<TestType> narrow = as<TestType>(waves(kPlanes * kRows * kColumns * kIn));
  const std::vector<float> x = floats(narrow), g = waves(kOut * kIn * kTaps * 9);
  const std::int64_t width = winograd_channels(kOut), tiles = winograd_tiles(kRows, kColumns);
  std::vector<float> u(static_cast<std::size_t>(kWinogradNumbers * kTaps * kIn * width), NAN);
  const WinogradWeights<float> weights{g.data(), {kIn * kTaps * 9, kTaps * 9, 9, 3, 1}, kOut, kIn, kTaps, u.data()};
  winograd_weights(weights, 0, 1);
  winograd_weights(weights, 1, winograd_weight_blocks(kIn, kOut));

  const std::int64_t stride = (kPlanes + 2) * tiles * kIn;
  std::vector<float> v(static_cast<std::size_t>(kWinogradNumbers * stride), NAN);
  const Planes<const TestType> planes{narrow.data(), kPlanes, kRows, kColumns, kIn};
  for (std::int64_t plane = -1; plane <= kPlanes; ++plane) {
    float* const out = v.data() + (plane + 1) * tiles * kIn;
    winograd_input(planes, plane, {0, 4}, out, stride);
    winograd_input(planes, plane, {4, tiles - 4}, out + 4 * kIn, stride);
  }

  std::vector<float> y(static_cast<std::size_t>(kPlanes * kRows * kColumns * kOut), 0.5F);
  const std::vector<float> bias(static_cast<std::size_t>(width), 0.25F);
  const bool add = GENERATE(false, true);
  for (std::int64_t plane = 0; plane < kPlanes; ++plane) {
    const std::vector<float> m = products(v, u, tiles, plane);
    winograd_output({m.data(), tiles * width, 0, width, bias.data(), add}, plane, {0, tiles},
                    Planes<float>{y.data(), kPlanes, kRows, kColumns, kOut});
  }
  require_convolution(y, x, g, add);
}

TEMPLATE_TEST_CASE("winograd: cubes transformed, multiplied and transformed back are the convolution",
                   "[unit][kernels]", float, Bf16) {
  const std::vector<TestType> narrow = as<TestType>(waves(kPlanes * kRows * kColumns * kIn));
  const std::vector<float> x = floats(narrow), g = waves(kOut * kIn * kTaps * 9);
  const std::int64_t width = winograd_channels(kOut), tiles = winograd_tiles(kRows, kColumns);
  std::vector<float> u(static_cast<std::size_t>(kWinogradCube * kIn * width), NAN);
  const WinogradWeights<float> weights{g.data(), {kIn * kTaps * 9, kTaps * 9, 9, 3, 1}, kOut, kIn, kTaps, u.data()};
  winograd_cube_weights(weights, 0, 1);
  winograd_cube_weights(weights, 1, winograd_weight_blocks(kIn, kOut));

  const Planes<const TestType> planes{narrow.data(), kPlanes, kRows, kColumns, kIn};
  std::vector<float> y(static_cast<std::size_t>(kPlanes * kRows * kColumns * kOut), 0.5F);
  const std::vector<float> bias(static_cast<std::size_t>(width), 0.25F);
  const bool add = GENERATE(false, true);
  for (std::int64_t plane = 0; plane < kPlanes; plane += kWinogradTile) {
    std::vector<float> v(static_cast<std::size_t>(kWinogradCube * tiles * kIn), NAN);
    winograd_cube_input(planes, plane - 1, {0, 4}, v.data(), tiles * kIn);
    winograd_cube_input(planes, plane - 1, {4, tiles - 4}, v.data() + 4 * kIn, tiles * kIn);
    std::vector<float> m(static_cast<std::size_t>(kWinogradCube * tiles * width));
    for (std::int64_t i = 0; i < kWinogradCube * tiles * width; ++i) {
      const std::int64_t number = i / (tiles * width), tile = i / width % tiles;
      double sum = 0;
      for (std::int64_t c = 0; c < kIn; ++c) {
        sum += static_cast<double>(v[static_cast<std::size_t>((number * tiles + tile) * kIn + c)]) *
               u[static_cast<std::size_t>((number * kIn + c) * width + i % width)];
      }
      m[static_cast<std::size_t>(i)] = static_cast<float>(sum);
    }
    winograd_cube_output({m.data(), tiles * width, 0, width, bias.data(), add}, plane, {0, tiles},
                         Planes<float>{y.data(), kPlanes, kRows, kColumns, kOut});
  }
  require_convolution(y, x, g, add);
}

namespace {

/// The slopes of a test, of which channels from kOut on are zeros, as filled up.
template <typename T>
std::vector<T> slopes_of() {
  const std::int64_t width = winograd_channels(kOut);
  std::vector<float> slopes(static_cast<std::size_t>(kPlanes * kRows * kColumns * width));
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    const auto channel = static_cast<std::int64_t>(i) % width;
    slopes[i] = channel < kOut ? value_at(static_cast<std::int64_t>(i) * 3) : 0.0F;
  }
  return as<T>(slopes);
}

/// sums [number][out][in] += slopes m [number][out][tile] times inputs v [number][tile][in].
void add_products(const std::vector<float>& m, const std::vector<float>& v, std::int64_t numbers, std::int64_t tiles,
                  const std::function<double&(std::int64_t number, std::int64_t out, std::int64_t in)>& sum) {
  const std::int64_t width = winograd_channels(kOut);
  for (std::int64_t i = 0; i < numbers * width * kIn * tiles; ++i) {
    const std::int64_t tile = i % tiles, c = i / tiles % kIn, k = i / (tiles * kIn) % width;
    const std::int64_t number = i / (tiles * kIn * width);
    sum(number, k, c) += static_cast<double>(v[static_cast<std::size_t>((number * tiles + tile) * kIn + c)]) *
                         m[static_cast<std::size_t>((number * width + k) * tiles + tile)];
  }
}

/// `gradient` (out, taps * 9, in) is that of the plain sum.
void require_gradient(const std::vector<float>& gradient, const std::vector<float>& x,
                      const std::vector<float>& slopes) {
  const std::int64_t width = winograd_channels(kOut);
  for (std::int64_t i = 0; i < kOut * kTaps * 9 * kIn; ++i) {
    const std::int64_t c = i % kIn, tap = i / kIn % (kTaps * 9), k = i / (kIn * kTaps * 9);
    double expected = 0;
    for (std::int64_t voxel = 0; voxel < kPlanes * kRows * kColumns; ++voxel) {
      const std::int64_t plane = voxel / (kRows * kColumns) + tap / 9 - 1;
      const std::int64_t row = voxel / kColumns % kRows + tap / 3 % 3 - 1, column = voxel % kColumns + tap % 3 - 1;
      const bool inside = plane >= 0 && plane < kPlanes && row >= 0 && row < kRows && column >= 0 && column < kColumns;
      if (!inside) continue;
      expected += static_cast<double>(x[place(plane, row, column, c, kIn)]) *
                  slopes[static_cast<std::size_t>(voxel * width + k)];
    }
    REQUIRE(static_cast<double>(gradient[static_cast<std::size_t>(i)]) == Approx(expected).margin(2e-4));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("winograd: the gradient of the weights is that of the plain sum", "[unit][kernels]", float, Bf16) {
  const std::vector<TestType> narrow = as<TestType>(waves(kPlanes * kRows * kColumns * kIn));
  const std::vector<TestType> slopes = slopes_of<TestType>();
  const std::int64_t width = winograd_channels(kOut), tiles = winograd_tiles(kRows, kColumns);
  std::vector<double> sums(static_cast<std::size_t>(kWinogradNumbers * kTaps * width * kIn));
  const Planes<const TestType> in{narrow.data(), kPlanes, kRows, kColumns, kIn};
  const Planes<const TestType> out{slopes.data(), kPlanes, kRows, kColumns, width};
  std::vector<float> v(static_cast<std::size_t>(kWinogradNumbers * tiles * kIn), NAN);
  std::vector<float> m(static_cast<std::size_t>(kWinogradNumbers * width * tiles), NAN);
  for (std::int64_t plane = 0; plane < kPlanes; ++plane) {
    winograd_slopes(out, plane, {0, 4}, m.data(), width * tiles, tiles);
    winograd_slopes(out, plane, {4, tiles - 4}, m.data() + 4, width * tiles, tiles);
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      winograd_input(in, plane + tap - 1, {0, tiles}, v.data(), tiles * kIn);
      add_products(m, v, kWinogradNumbers, tiles, [&](std::int64_t number, std::int64_t k, std::int64_t c) -> double& {
        return sums[static_cast<std::size_t>(((number * kTaps + tap) * width + k) * kIn + c)];
      });
    }
  }
  const std::vector<float> summed(sums.begin(), sums.end());
  std::vector<float> gradient(static_cast<std::size_t>(kOut * kTaps * 9 * kIn), NAN);
  const WinogradGradient work{summed.data(), kOut, kIn, kTaps, gradient.data()};
  winograd_gradient(work, 0, 7);
  winograd_gradient(work, 7, kOut);
  require_gradient(gradient, floats(narrow), floats(slopes));
}

TEMPLATE_TEST_CASE("winograd: so is that of cubes", "[unit][kernels]", float, Bf16) {
  const std::vector<TestType> narrow = as<TestType>(waves(kPlanes * kRows * kColumns * kIn));
  const std::vector<TestType> slopes = slopes_of<TestType>();
  const std::int64_t width = winograd_channels(kOut), tiles = winograd_tiles(kRows, kColumns);
  std::vector<double> sums(static_cast<std::size_t>(kWinogradCube * width * kIn));
  const Planes<const TestType> in{narrow.data(), kPlanes, kRows, kColumns, kIn};
  const Planes<const TestType> out{slopes.data(), kPlanes, kRows, kColumns, width};
  std::vector<float> v(static_cast<std::size_t>(kWinogradCube * tiles * kIn), NAN);
  std::vector<float> m(static_cast<std::size_t>(kWinogradCube * width * tiles), NAN);
  for (std::int64_t plane = 0; plane < kPlanes; plane += kWinogradTile) {
    winograd_cube_slopes(out, plane, {0, 4}, m.data(), width * tiles, tiles);
    winograd_cube_slopes(out, plane, {4, tiles - 4}, m.data() + 4, width * tiles, tiles);
    winograd_cube_input(in, plane - 1, {0, tiles}, v.data(), tiles * kIn);
    add_products(m, v, kWinogradCube, tiles, [&](std::int64_t number, std::int64_t k, std::int64_t c) -> double& {
      return sums[static_cast<std::size_t>((number * width + k) * kIn + c)];
    });
  }
  const std::vector<float> summed(sums.begin(), sums.end());
  std::vector<float> gradient(static_cast<std::size_t>(kOut * kTaps * 9 * kIn), NAN);
  const WinogradGradient work{summed.data(), kOut, kIn, kTaps, gradient.data()};
  winograd_cube_gradient(work, 0, 7);
  winograd_cube_gradient(work, 7, kOut);
  require_gradient(gradient, floats(narrow), floats(slopes));
}

TEMPLATE_TEST_CASE("rows are converted, and products finished, rounded once", "[unit][kernels]", float, Bf16) {
  const std::vector<TestType> x = as<TestType>(waves(3 * 21));
  std::vector<float> wide(x.size());
  launch(Cpu{}, ConvertRows<TestType, float>{x.data(), 21, wide.data(), 3, 21});
  CHECK(wide == floats(x));
  std::vector<float> parts(3 * 19);
  launch(Cpu{}, ConvertRows<TestType, float>{x.data() + 2, 21, parts.data(), 3, 19});
  for (std::size_t i = 0; i < parts.size(); ++i) CHECK(parts[i] == wide[i / 19 * 21 + 2 + i % 19]);

  std::vector<Bf16> pairs(2 * 2 * 21);  // rows 0 and 1, then 2 and 1
  launch(Cpu{}, PairRows<TestType>{x.data(), 21, pairs.data(), 1, 21});
  launch(Cpu{}, PairRows<TestType>{x.data() + 42, -21, pairs.data() + 42, 1, 21});
  const std::vector<float> rounded = floats(as<Bf16>(floats(x)));
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const std::size_t row = i < 42 ? i % 2 : 2 - i % 2;
    CHECK(load(pairs[i]) == rounded[row * 21 + i % 42 / 2]);
  }

  const std::vector<float> bias = waves(7), made = waves(3 * 7);
  std::vector<TestType> y = as<TestType>(waves(3 * 10));
  const std::vector<float> before = floats(y);
  launch(Cpu{}, FinishRows<TestType, true>{made.data(), bias.data(), y.data() + 1, 10, 3, 7});
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t row = i / 10, column = i % 10;
    const bool touched = column >= 1 && column < 8;
    const float sum = touched ? made[row * 7 + column - 1] + bias[column - 1] + before[i] : before[i];
    CHECK(load(y[i]) == floats(as<TestType>({sum})).front());
  }
}
