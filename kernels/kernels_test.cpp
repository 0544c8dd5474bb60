// SPDX-License-Identifier: Apache-2.0
// Every kernel against the plain formula in double.
#include "kernels/softmax.h"
#include "kernels/test_operations.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

using namespace medgen::kernels;
using namespace medgen::kernels::testing;
namespace noise = medgen::noise;

namespace {

const Size kSize{3, 4, 5, 19};

/// Three threads, each with a share of every loop, however short.
void on_three_threads(unsigned, std::int64_t n, std::int64_t, Cpu::Part part, const void* kernel) {
  std::vector<std::jthread> threads;
  for (std::int64_t i = 0; i < 3; ++i) threads.emplace_back(part, kernel, n * i / 3, n * (i + 1) / 3);
}

/// The nearest bfloat16.
float rounded(float value) {
  Bf16 narrow{};
  store(value, &narrow);
  return load(narrow);
}

template <typename T>
double value_of(float x) {
  return static_cast<double>(floats(as<T>({x})).front());
}

/// How far rounding to T may move a value, relative.
template <typename T>
constexpr double kRounding = sizeof(T) == 2 ? 0x1p-8 : 0x1p-22;

double silu_of(double x) {
  return x / (1 + std::exp(-x));
}

medgen_update_t no_update() {
  medgen_update_t u{};
  u.keep_x = u.keep_m = u.keep_x0 = -1;
  return u;
}

/// Everything an update can ask for.
medgen_update_t full_update() {
  medgen_update_t u = no_update();
  u.x = 0.75;
  u.m = -0.3;
  u.x0 = 1.1;
  u.x0_x = 1.25;
  u.x0_m = -0.6;
  u.clamp_low = -0.5;
  u.clamp_high = 0.5;
  for (int k = 0; k < MEDGEN_HISTORY; k += 2) u.history[k] = 0.125 * (k + 1);
  u.noise_scale = 0.2;
  u.log_variance_min = -3;
  u.log_variance_max = -1;
  u.flags = MEDGEN_UPDATE_NOISE | MEDGEN_UPDATE_CLAMP_X0 | MEDGEN_UPDATE_LEARNED_RANGE;
  return u;
}

double updated(const medgen_update_t& u, std::size_t n, std::size_t i, double m) {
  const auto drawn = [&](std::uint32_t purpose) { return static_cast<double>(normal(n, purpose)[i]); };
  double x0 = u.x0_x * drawn(1) + u.x0_m * m;
  if ((u.flags & MEDGEN_UPDATE_CLAMP_X0) != 0) x0 = std::clamp(x0, u.clamp_low, u.clamp_high);
  double sum = u.x * drawn(1) + u.m * m + u.x0 * x0;
  for (std::uint32_t k = 0; k < MEDGEN_HISTORY; ++k) sum += u.history[k] * drawn(6 + k);
  if ((u.flags & MEDGEN_UPDATE_NOISE) == 0) return sum;
  const double f = (drawn(4) + 1) / 2;
  const bool learned = (u.flags & MEDGEN_UPDATE_LEARNED_RANGE) != 0;
  const double range = learned ? std::exp(0.5 * (f * u.log_variance_max + (1 - f) * u.log_variance_min)) : 1;
  return sum + u.noise_scale * range * drawn(5);
}

}  // namespace

TEST_CASE("kernels: bfloat16 is rounded to the nearest, ties to even, and NaN stays NaN", "[unit][kernels]") {
  CHECK(rounded(1.0F) == 1.0F);
  CHECK(rounded(1.0F + 0x1p-8F) == 1.0F);
  CHECK(rounded(1.0F + 0x1.8p-7F) == 1.0F + 0x1p-6F);
  CHECK(rounded(-0.0F) == 0.0F);
  CHECK(std::isinf(rounded(3.4e38F)));
  CHECK(std::isnan(rounded(std::bit_cast<float>(0x7F800001U))));
  CHECK(std::isnan(rounded(std::bit_cast<float>(0xFFFFFFFFU))));
}

TEST_CASE("kernels: exponentials agree with the C library and do not overflow", "[unit][kernels]") {
  for (double x = -80; x < 80; x += 0.0137) {
    REQUIRE(exponential(x) == Approx(std::exp(x)).epsilon(4e-15).margin(0));
    const auto narrow = static_cast<float>(x);
    REQUIRE(exponential(narrow) == Approx(std::exp(static_cast<double>(narrow))).epsilon(3e-7).margin(0));
  }
  CHECK(exponential(0.0) == 1.0);
  CHECK(exponential(-1e300) == exponential(-700.0));
  CHECK(std::isfinite(exponential(1e300)));
  CHECK(std::isfinite(exponential(1e30F)));
  CHECK(silu(-1e30F) == Approx(0).margin(1e-6));
}

TEMPLATE_TEST_CASE("kernels: channel sums are those of each plane", "[unit][kernels]", float, Bf16) {
  OnCpu cpu;
  const std::vector<float> x = normal(count(kSize), 1);
  const std::vector<double> sums = channel_sums<TestType>(cpu, x, kSize);
  const auto channels = static_cast<std::size_t>(kSize[3]);
  const std::size_t voxels = count(kSize) / channels / 3;
  for (std::size_t i = 0; i < 3 * channels; ++i) {
    double sum = 1, squares = 1;
    for (std::size_t v = 0; v < voxels; ++v) {
      const double value = value_of<TestType>(x[(i / channels * voxels + v) * channels + i % channels]);
      sum += value;
      squares += value * value;
    }
    REQUIRE(sums[i] == Approx(sum).margin(1e-12));
    REQUIRE(sums[3 * channels + i] == Approx(squares).margin(1e-12));
  }
}

TEMPLATE_TEST_CASE("kernels: factors and offsets make groups of mean 0 and variance 1, times weight, plus bias",
                   "[unit][kernels]", float, Bf16) {
  OnCpu cpu;
  const Size size{3, 5, 4, 36};
  const auto channels = static_cast<std::size_t>(size[3]);
  const std::size_t per_group = GENERATE(1, 4, 36), voxels = count(size) / channels;
  const bool shifted = GENERATE(false, true);
  const std::vector<float> x = normal(count(size), 1), weight = normal(channels, 2), bias = normal(channels, 3);
  const std::vector<float> shift = shifted ? normal(channels, 4) : std::vector<float>{};
  const auto affine = group_affine<TestType>(cpu, x, size, static_cast<std::int64_t>(per_group), shift, weight, bias);
  for (std::size_t first = 0; first < channels; first += per_group) {
    const auto value = [&](std::size_t v, std::size_t c) {
      return static_cast<double>(value_of<TestType>(x[v * channels + c])) + (shifted ? shift[c] : 0.0F);
    };
    double mean = 0, variance = 0;
    for (std::size_t v = 0; v < voxels; ++v) {
      for (std::size_t c = first; c < first + per_group; ++c) mean += value(v, c);
    }
    const auto n = static_cast<double>(voxels * per_group);
    mean /= n;
    for (std::size_t v = 0; v < voxels; ++v) {
      for (std::size_t c = first; c < first + per_group; ++c) variance += std::pow(value(v, c) - mean, 2) / n;
    }
    for (std::size_t c = first; c < first + per_group; ++c) {
      const double factor = weight[c] / std::sqrt(variance + 1e-6);
      REQUIRE(affine[c] == Approx(factor).epsilon(1e-6));
      REQUIRE(affine[channels + c] == Approx(bias[c] + ((shifted ? shift[c] : 0.0) - mean) * factor).epsilon(1e-5));
    }
  }
}

TEMPLATE_TEST_CASE("kernels: normalisation is silu(factor x + offset)", "[unit][kernels]", float, Bf16) {
  OnCpu cpu;
  const std::vector<float> x = normal(count(kSize), 1), factor = normal(19, 2), offset = normal(19, 3);
  const auto plain = normalize<TestType, false>(cpu, x, kSize, factor, offset);
  const auto with_silu = normalize<TestType, true>(cpu, x, kSize, factor, offset);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double y = value_of<TestType>(x[i]) * factor[i % 19] + offset[i % 19];
    REQUIRE(plain[i] == Approx(y).epsilon(kRounding<TestType>).margin(1e-6));
    REQUIRE(with_silu[i] == Approx(silu_of(y)).epsilon(kRounding<TestType>).margin(1e-6));
  }
}

TEST_CASE("kernels: normalisation of float32 may be rounded to bfloat16, once", "[unit][kernels]") {
  OnCpu cpu;
  const std::vector<float> x = normal(count(kSize), 1), factor = normal(19, 2), offset = normal(19, 3);
  CHECK(normalize<float, true, Bf16>(cpu, x, kSize, factor, offset) ==
        floats(as<Bf16>(normalize<float, true>(cpu, x, kSize, factor, offset))));
  CHECK(normalize<float, false, Bf16>(cpu, x, kSize, factor, offset) ==
        floats(as<Bf16>(normalize<float, false>(cpu, x, kSize, factor, offset))));
}

TEMPLATE_TEST_CASE("kernels: halving takes means of eight neighbours, without a last odd one", "[unit][kernels]", float,
                   Bf16) {
  OnCpu cpu;
  constexpr Size kOdd = {5, 4, 7, 19};
  const std::vector<float> x = normal(count(kOdd), 1), means = downsample<TestType>(cpu, x, kOdd);
  REQUIRE(means.size() == 2 * 2 * 3 * 19);
  for (std::size_t i = 0; i < means.size(); ++i) {
    const std::size_t k = i % 19, c = i / 19 % 3, r = i / 57 % 2, p = i / 114;
    float sum = 0;
    for (std::size_t corner = 0; corner < 8; ++corner) {
      const std::size_t plane = 2 * p + (corner >> 2), row = 2 * r + (corner >> 1 & 1), column = 2 * c + (corner & 1);
      sum += static_cast<float>(value_of<TestType>(x[((plane * 4 + row) * 7 + column) * 19 + k]));
    }
    REQUIRE(means[i] == value_of<TestType>(sum / 8));
  }
  CHECK(downsample<TestType>(cpu, x, {1, 4, 7, 95}).empty());
}

TEMPLATE_TEST_CASE("kernels: doubling repeats, or interpolates between, neighbours", "[unit][kernels]", float, Bf16) {
  OnCpu cpu;
  const std::vector<float> x = normal(count(kSize), 1);
  const auto source = [&](std::int64_t p, std::int64_t r, std::int64_t c, std::int64_t k) {
    return value_of<TestType>(x[static_cast<std::size_t>(((p * kSize[1] + r) * kSize[2] + c) * kSize[3] + k)]);
  };
  const auto tap = [](std::int64_t to, std::int64_t length) {
    const double at = std::clamp((static_cast<double>(to) + 0.5) / 2 - 0.5, 0.0, static_cast<double>(length - 1));
    return std::pair{std::min(static_cast<std::int64_t>(at), length - 1), at - std::floor(at)};
  };
  const auto [from, to] = GENERATE(table<std::int64_t, std::int64_t>({{0, 6}, {1, 4}, {5, 6}, {2, 2}}));
  const auto linear = upsample<UpsampleLinear, TestType>(cpu, x, kSize, from, to);
  const auto nearest = upsample<UpsampleNearest, TestType>(cpu, x, kSize, from, to);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(linear.size()); ++i) {
    const std::int64_t k = i % 19, c = i / 19 % 10, r = i / 190 % 8, p = from + i / 1520;
    REQUIRE(nearest[static_cast<std::size_t>(i)] == source(p / 2, r / 2, c / 2, k));
    double value = 0;
    const auto [p0, pw] = tap(p, kSize[0]);
    const auto [r0, rw] = tap(r, kSize[1]);
    const auto [c0, cw] = tap(c, kSize[2]);
    for (int corner = 0; corner < 8; ++corner) {
      const std::int64_t dp = corner & 1, dr = corner >> 1 & 1, dc = corner >> 2;
      const double weight = (dp ? pw : 1 - pw) * (dr ? rw : 1 - rw) * (dc ? cw : 1 - cw);
      value += weight * source(std::min(p0 + dp, kSize[0] - 1), std::min(r0 + dr, kSize[1] - 1),
                               std::min(c0 + dc, kSize[2] - 1), k);
    }
    REQUIRE(linear[static_cast<std::size_t>(i)] == Approx(value).epsilon(kRounding<TestType>).margin(1e-6));
  }
}

TEST_CASE("kernels: an update is the sum that its coefficients say", "[unit][kernels]") {
  const std::size_t n = GENERATE(1, 31, 32, 77);
  const bool guided = GENERATE(false, true);
  const std::uint32_t without = GENERATE(0u, MEDGEN_UPDATE_NOISE, MEDGEN_UPDATE_CLAMP_X0, MEDGEN_UPDATE_LEARNED_RANGE);
  medgen_update_t u = full_update();
  u.flags &= ~without;
  OnCpu cpu;
  const UpdateResult result = update(cpu, u, guided, n);
  for (std::size_t i = 0; i < n; ++i) {
    const double with = normal(n, 2)[i], none = normal(n, 3)[i];
    const double m = guided ? static_cast<float>(none + 3.5 * (with - none)) : with;
    REQUIRE(result.kept_m[i] == static_cast<float>(m));
    REQUIRE(result.next[i] == Approx(updated(u, n, i, m)).epsilon(1e-7).margin(1e-7));
    medgen_update_t clean = no_update();
    clean.x0 = 1;
    clean.x0_x = u.x0_x, clean.x0_m = u.x0_m;
    clean.clamp_low = u.clamp_low, clean.clamp_high = u.clamp_high;
    clean.flags = u.flags & MEDGEN_UPDATE_CLAMP_X0;
    REQUIRE(result.kept_x0[i] == static_cast<float>(updated(clean, n, i, m)));
  }
}

TEST_CASE("kernels: what an update does not ask for is not read", "[unit][kernels]") {
  const std::vector<float> x = normal(40, 1), m = normal(40, 2);
  std::vector<float> next(40);
  UpdateStep step{};
  step.u = no_update();
  step.u.x = 1;
  step.u.m = 0.5;
  step.count = 40;
  step.x = x.data();
  step.m = m.data();
  step.next = next.data();
  launch(Cpu{}, step);
  for (std::size_t i = 0; i < 40; ++i) CHECK(next[i] == static_cast<float>(double{x[i]} + 0.5 * m[i]));
}

TEST_CASE("kernels: noise is element by element what the SDK says, wherever a run begins", "[unit][kernels]") {
  const noise::Stream stream{0x123456789abcdef0u, noise::purpose_hash("init"), 3, 11};
  const auto [first, n] = GENERATE(table<std::int64_t, std::int64_t>(
      {{0, 0}, {0, 1}, {3, 1}, {3, 2}, {0, 128}, {1, 129}, {2, 1000}, {(std::int64_t{1} << 34) - 5, 5}}));
  OnCpu cpu;
  const auto wide = noise_run<double, true>(cpu, stream, first, n);
  const auto narrow = noise_run<float, true>(cpu, stream, first, n);
  const auto uniform = noise_run<double, false>(cpu, stream, first, n);
  const auto coarse = noise_run<float, false>(cpu, stream, first, n);
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
    const std::uint64_t element = static_cast<std::uint64_t>(first) + i;
    REQUIRE(wide[i] == noise::normal(stream, element));
    REQUIRE(narrow[i] == static_cast<float>(noise::normal(stream, element)));
    const auto block = static_cast<std::uint32_t>(element / 4);
    const std::uint32_t word = noise::words(stream, block).w[element % 4];
    REQUIRE(uniform[i] == noise::uniform_double(word, noise::fine_words(stream, block).w[element % 4]));
    REQUIRE(coarse[i] == noise::uniform_float(word));
  }
}

TEST_CASE("kernels: label planes are the bits, or the classes, of each voxel", "[unit][kernels]") {
  const std::int64_t n = GENERATE(1, 2);
  const std::array<std::int64_t, 3> size{4, 6, 10};
  std::vector<std::int64_t> labels(2 * 240);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(i * i % 7);
  const std::vector<std::int64_t> classes{5, 0, 9};
  OnCpu cpu;
  const auto bits = label_planes<true>(cpu, labels, 2, size, classes, n);
  const auto hot = label_planes<false>(cpu, labels, 2, size, classes, n);
  std::size_t i = 0;
  for (std::int64_t row = 0; row < 2; ++row) {
    for (std::int64_t channel = 0; channel < 3 * n * n * n; ++channel) {
      const std::int64_t k = channel / (n * n * n), dx = channel / (n * n) % n, dy = channel / n % n, dz = channel % n;
      for (std::int64_t x = dx; x < 4; x += n) {
        for (std::int64_t y = dy; y < 6; y += n) {
          for (std::int64_t z = dz; z < 10; z += n, ++i) {
            const std::int64_t label = labels[static_cast<std::size_t>(((row * 4 + x) * 6 + y) * 10 + z)];
            REQUIRE(bits[i] == static_cast<float>(label >> k & 1));
            REQUIRE(hot[i] == (label == classes[static_cast<std::size_t>(k)] ? 1.0F : 0.0F));
          }
        }
      }
    }
  }
  CHECK(i == bits.size());
}

TEST_CASE("kernels: a window is added in its place, and nothing beside it is touched", "[unit][kernels]") {
  const std::array<std::int64_t, 3> size{2, 3, 4}, origin{1, 0, 2}, whole{4, 3, 7};
  OnCpu cpu;
  const auto sum = blend<true>(cpu, size, origin, whole);
  const auto weights = blend<false>(cpu, size, origin, whole);
  const auto values = normal(48, 1), wx = normal(2, 2), wy = normal(3, 3), wz = normal(4, 4);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(sum.size()); ++i) {
    const std::int64_t z = i % 7 - 2, y = i / 7 % 3, x = i / 21 % 4 - 1, channel = i / 84;
    const bool inside = x >= 0 && x < 2 && z >= 0 && z < 4;
    double weight = 0, value = 0;
    if (inside) {
      const auto at = [](std::int64_t j) { return static_cast<std::size_t>(j); };
      weight = std::max(double{wx[at(x)]} * wy[at(y)] * wz[at(z)], 0.25);
      value = weight * values[at(((channel * 2 + x) * 3 + y) * 4 + z)];
    }
    REQUIRE(sum[static_cast<std::size_t>(i)] == Approx(1 + value).margin(1e-6));
    REQUIRE(weights[static_cast<std::size_t>(i)] == Approx(1 + weight).margin(1e-6));
  }
}

TEST_CASE("kernels: threads change no bit, and nothing to do is nothing done", "[unit][kernels]") {
  OnCpu one, three(Cpu{on_three_threads});
  const std::vector<float> x = normal(count(kSize), 1), factor = normal(19, 2);
  CHECK(channel_sums<float>(one, x, kSize) == channel_sums<float>(three, x, kSize));
  CHECK(normalize<Bf16, true>(one, x, kSize, factor, factor) == normalize<Bf16, true>(three, x, kSize, factor, factor));
  CHECK(upsample<UpsampleLinear, float>(one, x, kSize, 0, 6) == upsample<UpsampleLinear, float>(three, x, kSize, 0, 6));
  const noise::Stream stream{7, 1, 2, 3};
  CHECK(noise_run<float, true>(one, stream, 3, 1001) == noise_run<float, true>(three, stream, 3, 1001));
  CHECK(update(one, full_update(), true, 1001).next == update(three, full_update(), true, 1001).next);
  const Size none{0, 4, 5, 19};
  CHECK(channel_sums<float>(three, {}, none).empty());
  CHECK(normalize<float, true>(three, {}, none, factor, factor).empty());
  CHECK(update(three, full_update(), true, 0).next.empty());
}

TEST_CASE("kernels: the softmax of keys that come in blocks is that of all of them", "[unit][kernels]") {
  constexpr std::int64_t kRows = 3, kKeys = 100, kBlock = 37;
  std::vector<float> scores = normal(kRows * kKeys, 5), largest(kRows, -INFINITY), sums(kRows, 0.0F),
                     mixed(kRows, 0.0F);
  for (float& score : scores) score *= 30;
  for (std::int64_t first = 0; first < kKeys; first += kBlock) {
    const std::int64_t keys = std::min(kBlock, kKeys - first);
    std::vector<float> block;
    for (std::int64_t row = 0; row < kRows; ++row) {
      const auto begin = scores.begin() + row * kKeys + first;
      block.insert(block.end(), begin, begin + keys);
    }
    softmax_rows({block.data(), kRows, keys, largest.data(), sums.data(), mixed.data(), 1});
    // The values are the numbers of the keys.
    for (std::int64_t i = 0; i < kRows * keys; ++i) {
      mixed[static_cast<std::size_t>(i / keys)] +=
          block[static_cast<std::size_t>(i)] * static_cast<float>(first + i % keys);
    }
  }
  for (std::int64_t row = 0; row < kRows; ++row) {
    const float* const all = scores.data() + row * kKeys;
    const double most = *std::max_element(all, all + kKeys);
    double sum = 0, expected = 0;
    for (std::int64_t key = 0; key < kKeys; ++key) {
      sum += std::exp(all[key] - most);
      expected += std::exp(all[key] - most) * static_cast<double>(key);
    }
    const auto i = static_cast<std::size_t>(row);
    CHECK(largest[i] == static_cast<float>(most));
    CHECK(sums[i] == Approx(sum).epsilon(1e-5));
    CHECK(mixed[i] / sums[i] == Approx(expected / sum).epsilon(1e-5));
  }
}
