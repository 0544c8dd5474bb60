// SPDX-License-Identifier: Apache-2.0
#include "core/volume/intensity.h"

#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <limits>
#include <vector>

namespace medgen {
namespace {

template <typename T>
Tensor row(const std::vector<T>& values) {
  return Tensor::from<T>(values, {static_cast<std::int64_t>(values.size())});
}

std::vector<float> list(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

TEST_CASE("intensity window: maps CT to 0..1, cuts off both ends, and comes back in the old type", "[unit][volume]") {
  const IntensityTransform window = intensity_window(-1000, 1000);
  const Tensor ct = row<std::int16_t>({-2048, -1000, 0, 500, 1000, 3000});
  const Tensor unit = scaled(window, ct);
  REQUIRE(list(unit) == std::vector<float>{0, 0, 0.5F, 0.75F, 1, 1});
  const Tensor back = unscaled(window, unit, DType::I16);
  const auto values = back.values<std::int16_t>();
  REQUIRE(std::vector<std::int16_t>(values.begin(), values.end()) ==
          std::vector<std::int16_t>{-1000, -1000, 0, 500, 1000, 1000});
}

TEST_CASE("intensity window: undone exactly for every integer inside the window", "[unit][volume]") {
  const IntensityTransform window = intensity_window(-1000, 1000);
  std::vector<std::int16_t> values;
  for (int value = -1000; value <= 1000; ++value) values.push_back(static_cast<std::int16_t>(value));
  const Tensor back = unscaled(window, scaled(window, row<std::int16_t>(values)), DType::I16);
  REQUIRE(std::equal(values.begin(), values.end(), back.values<std::int16_t>().begin()));
}

TEST_CASE("intensity percentiles: agree with linear interpolation between ranks and keep what lies above",
          "[unit][volume]") {
  std::vector<float> values;
  for (int i = 100; i >= 0; --i) values.push_back(static_cast<float>(2 * i));
  const IntensityTransform mr = intensity_percentiles(row<float>(values), 0, 99.5);
  REQUIRE(mr.low == 0);
  REQUIRE(mr.high == Approx(199.0).margin(1e-9));
  REQUIRE(list(scaled(mr, row<float>({199.0F, 398.0F}))) == std::vector<float>{1, 2});
  REQUIRE(list(unscaled(mr, row<float>({-0.5F, 2.0F}), DType::F32)) == std::vector<float>{0, 398});
}

TEST_CASE("intensity: windows and images that give no scale are refused", "[unit][volume]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  REQUIRE_THROWS_AS(intensity_window(1, 1), DataError);
  REQUIRE_THROWS_AS(intensity_window(0, std::numeric_limits<double>::infinity()), DataError);
  REQUIRE_THROWS_WITH(intensity_percentiles(row<float>({5, 5, 5}), 0, 99.5), Catch::Contains("constant"));
  REQUIRE_THROWS_WITH(intensity_percentiles(row<float>({1, nan, 3}), 0, 99.5), Catch::Contains("1 of 3"));
  REQUIRE_THROWS_AS(intensity_percentiles(row<float>({1, 2}), 50, 50), DataError);
  REQUIRE_THROWS_AS(intensity_percentiles(row<float>({1, 2}), -1, 50), DataError);
  REQUIRE_THROWS_AS(intensity_percentiles(row<float>({1, 2}), 0, 101), DataError);
}

}  // namespace
}  // namespace medgen
