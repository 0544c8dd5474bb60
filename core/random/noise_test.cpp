// SPDX-License-Identifier: Apache-2.0
#include "core/random/noise.h"

#include "core/base/error.h"

#include <medgen/sdk/noise.hpp>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <set>

using namespace medgen;

namespace {

Tensor noise_of(const Shape& shape, const NoiseKey& key, Distribution distribution = Distribution::Normal,
                DType dtype = DType::F32, unsigned threads = 0) {
  Tensor tensor(dtype, shape);
  fill_noise(tensor, key, distribution, threads);
  return tensor;
}

std::vector<float> floats(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

double moment(const std::vector<float>& values, int order) {
  double sum = 0;
  for (const float value : values) sum += std::pow(value, order);
  return sum / static_cast<double>(values.size());
}

/// Largest distance between the empirical and the given distribution function, times sqrt(n).
template <typename Cdf>
double kolmogorov_smirnov(std::vector<float> values, Cdf cdf) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  double distance = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double p = cdf(values[i]);
    const auto rank = static_cast<double>(i);
    distance = std::max({distance, p - rank / n, (rank + 1) / n - p});
  }
  return distance * std::sqrt(n);
}

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum / static_cast<double>(a.size());
}

const NoiseKey kKey{42, 3, "init", 7};
/// 0.1 % of tests of random data lie beyond it.
constexpr double kKsLimit = 1.95;

}  // namespace

TEST_CASE("philox: the known answers of Random123", "[unit][random]") {
  const auto check_words = [](noise::Words counter, std::uint64_t key, const std::uint32_t(&expected)[4]) {
    const noise::Words words = noise::philox(counter, key);
    for (int i = 0; i < 4; ++i) CHECK(words.w[i] == expected[i]);
  };
  check_words({{0, 0, 0, 0}}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_words({{~0u, ~0u, ~0u, ~0u}}, ~std::uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_words({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0x299f31d0a4093822,
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("purpose hash: the known answers of FNV-1a", "[unit][random]") {
  CHECK(noise::purpose_hash("") == 0x811c9dc5);
  CHECK(noise::purpose_hash("a") == 0xe40c292c);
  CHECK(noise::purpose_hash("foobar") == 0xbf9cf968);
}

TEST_CASE("noise: logarithm and rotation agree with the C library", "[unit][random]") {
  std::vector<std::uint32_t> words{0,          1,          2,          0x1fffffff, 0x20000000, 0x20000001,
                                   0x40000000, 0x5fffffff, 0x60000000, 0x80000000, 0xb504f333, 0xb504f334,
                                   0xc0000000, 0xdfffffff, 0xe0000000, ~0u};
  for (std::uint32_t i = 0; i < 20000; ++i) words.push_back(noise::philox({{i, 1, 2, 3}}, 4).w[0]);
  for (const std::uint32_t word : words) {
    const double u = (word + 0.5) * 0x1p-32;
    const double logarithm = std::log(u);
    // u itself is exact; log near 1 is compared where u - 1 is exact.
    REQUIRE(noise::exact::log_uniform(word) == Approx(logarithm).epsilon(1e-15).margin(0));
    const auto turn = noise::exact::rotation(word);
    const double angle = 2 * std::numbers::pi * (word * 0x1p-32);
    REQUIRE(turn.cosine == Approx(std::cos(angle)).margin(2e-15));
    REQUIRE(turn.sine == Approx(std::sin(angle)).margin(2e-15));
  }
}

TEST_CASE("noise: the bits never change", "[unit][random]") {
  const std::vector<float> values = floats(noise_of({2, 3}, kKey));
  const std::vector<float> expected{0x1.eeedd4p-2F, -0x1.cef674p-1F, 0x1.0b6232p-2F,
                                    0x1.0a8f5ep+0F, -0x1.aeb084p-4F, -0x1.3a4a1cp-3F};
  CHECK(values == expected);
}

TEST_CASE("noise: normal numbers have the moments and the distribution of N(0,1)", "[unit][random]") {
  const std::vector<float> values = floats(noise_of({1, 1000000}, kKey));
  CHECK(moment(values, 1) == Approx(0).margin(0.004));
  CHECK(moment(values, 2) == Approx(1).margin(0.006));
  CHECK(moment(values, 3) == Approx(0).margin(0.016));
  CHECK(moment(values, 4) == Approx(3).margin(0.04));
  CHECK(kolmogorov_smirnov(values, [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }) < kKsLimit);
}

TEST_CASE("noise: uniform numbers fill [0,1) evenly", "[unit][random]") {
  const std::vector<float> values = floats(noise_of({1, 1000000}, kKey, Distribution::Uniform));
  CHECK(*std::min_element(values.begin(), values.end()) >= 0.0F);
  CHECK(*std::max_element(values.begin(), values.end()) < 1.0F);
  CHECK(kolmogorov_smirnov(values, [](double x) { return x; }) < kKsLimit);
}

TEST_CASE("noise: neighbouring elements are uncorrelated", "[unit][random]") {
  const std::vector<float> values = floats(noise_of({1, 400000}, kKey));
  for (const std::size_t lag : {1u, 2u, 3u, 4u, 64u, 4096u}) {
    const std::vector<float> head(values.begin(), values.end() - static_cast<std::ptrdiff_t>(lag));
    const std::vector<float> tail(values.begin() + static_cast<std::ptrdiff_t>(lag), values.end());
    CHECK(correlation(head, tail) == Approx(0).margin(0.007));
  }
}

TEST_CASE("noise: the number of threads does not change a bit", "[unit][random]") {
  const auto distribution = GENERATE(Distribution::Normal, Distribution::Uniform);
  const std::vector<float> alone = floats(noise_of({3, 2, 31, 57, 13}, kKey, distribution, DType::F32, 1));
  for (const unsigned threads : {2u, 3u, 8u}) {
    CHECK(floats(noise_of({3, 2, 31, 57, 13}, kKey, distribution, DType::F32, threads)) == alone);
  }
}

TEST_CASE("noise: a row of a batch is the sample on its own", "[unit][random]") {
  const Tensor batch = noise_of({4, 2, 5, 7}, kKey);
  for (std::uint32_t row = 0; row < 4; ++row) {
    NoiseKey key = kKey;
    key.sample += row;
    CHECK(floats(batch.rows(row, 1)) == floats(noise_of({1, 2, 5, 7}, key)));
  }
}

TEST_CASE("noise: a tile has the noise of the whole array", "[unit][random]") {
  const Shape whole{2, 9, 10, 11};
  const Tensor all = noise_of({2, 2, 9, 10, 11}, kKey);
  const auto [origin, extent] = GENERATE(table<Shape, Shape>({{{0, 0, 0, 0}, {2, 9, 10, 11}},
                                                              {{0, 3, 0, 0}, {2, 4, 10, 11}},
                                                              {{1, 2, 3, 4}, {1, 5, 6, 7}},
                                                              {{0, 8, 9, 10}, {2, 1, 1, 1}},
                                                              {{0, 0, 0, 5}, {2, 9, 10, 3}},
                                                              {{0, 0, 0, 0}, {2, 0, 10, 11}}}));
  Tensor patch(DType::F32, {2, extent[0], extent[1], extent[2], extent[3]});
  fill_noise_box(patch, whole, origin, kKey, Distribution::Normal, 2);
  if (patch.size() > 0) CHECK(floats(patch) == floats(crop(all, origin, extent)));
}

TEST_CASE("noise: seed, sample, purpose and step each give other, uncorrelated noise", "[unit][random]") {
  const Shape shape{1, 100000};
  const std::vector<float> reference = floats(noise_of(shape, kKey));
  const std::vector<NoiseKey> others{{43, 3, "init", 7}, {42 + (std::uint64_t{1} << 32), 3, "init", 7},
                                     {42, 4, "init", 7}, {42, 3, "renoise", 7},
                                     {42, 3, "", 7},     {42, 3, "init", 8}};
  std::set<float> firsts{reference[0]};
  for (const NoiseKey& key : others) {
    const std::vector<float> values = floats(noise_of(shape, key));
    firsts.insert(values[0]);
    CHECK(correlation(reference, values) == Approx(0).margin(0.015));
  }
  CHECK(firsts.size() == others.size() + 1);
}

TEST_CASE("noise: float32 noise is float64 noise rounded", "[unit][random]") {
  const Tensor wide = noise_of({2, 1001}, kKey, Distribution::Normal, DType::F64);
  const Tensor narrow = noise_of({2, 1001}, kKey);
  for (std::size_t i = 0; i < 2002; ++i) {
    REQUIRE(static_cast<float>(wide.values<double>()[i]) == narrow.values<float>()[i]);
  }
  const Tensor fine = noise_of({1, 1000}, kKey, Distribution::Uniform, DType::F64);
  const Tensor coarse = noise_of({1, 1000}, kKey, Distribution::Uniform);
  for (std::size_t i = 0; i < 1000; ++i) {
    const double difference = fine.values<double>()[i] - static_cast<double>(coarse.values<float>()[i]);
    REQUIRE((difference >= 0 && difference < 0x1p-24));
  }
}

TEST_CASE("noise: element access agrees with filling", "[unit][random]") {
  const std::vector<float> values = floats(noise_of({1, 37}, kKey));
  const noise::Stream stream{kKey.seed, noise::purpose_hash(kKey.purpose), kKey.step, kKey.sample};
  for (std::uint64_t e = 0; e < 37; ++e) CHECK(static_cast<float>(noise::normal(stream, e)) == values[e]);
}

TEST_CASE("noise: what cannot be filled is refused", "[unit][random]") {
  Tensor integers(DType::I32, {1, 4});
  CHECK_THROWS_AS(fill_noise(integers, kKey), DataError);
  Tensor half(DType::F16, {1, 4});
  CHECK_THROWS_WITH(fill_noise(half, kKey), Catch::Contains("F16"));
  Tensor scalar(DType::F32, {});
  CHECK_THROWS_AS(fill_noise(scalar, kKey), DataError);
  Tensor patch(DType::F32, {1, 2, 2});
  CHECK_THROWS_AS(fill_noise_box(patch, {3, 3}, {2, 0}, kKey), DataError);
  CHECK_THROWS_AS(fill_noise_box(patch, {3, 3}, {-1, 0}, kKey), DataError);
  CHECK_THROWS_AS(fill_noise_box(patch, {3, 3, 3}, {0, 0, 0}, kKey), DataError);
  CHECK_THROWS_AS(fill_noise_box(patch, {1 << 20, 1 << 15}, {0, 0}, kKey), DataError);
  Tensor rows(DType::F32, {2, 2});
  CHECK_THROWS_AS(fill_noise(rows, NoiseKey{1, ~0u, "init", 0}), DataError);
}

TEST_CASE("noise: the last sample and the last elements of the range work", "[unit][random]") {
  Tensor last(DType::F32, {1, 1, 3});
  fill_noise_box(last, {1 << 4, 1 << 30}, {15, (1 << 30) - 3}, NoiseKey{1, ~0u, "init", 0});
  for (const float value : last.values<float>()) CHECK(std::abs(value) < 7);
}
