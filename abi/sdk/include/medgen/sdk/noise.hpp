// SPDX-License-Identifier: Apache-2.0
// medgen's noise: the same bits on every CPU, compiler and GPU (docs/numerics.md). Element e of one sample is a pure
// function of (seed, sample, purpose, step, e), so batches, tiles, threads and devices cannot change it.
//
//   block  b = e / 4, lane l = e % 4; e < 2^34, because the block index is one 32-bit word
//   words  w[0..3] = Philox4x32-10(counter = {b, FNV-1a-32(purpose), step, sample}, key = {low, high 32 bits of the
//   seed}) uniform (float)  = (w[l] >> 8) 2^-24 uniform (double) = (w[l] 2^21 + (v[l] >> 11)) 2^-53, v from the counter
//   {b, FNV-1a-32(purpose) + 1, step, sample};
//                      the float value is the double value cut off to 24 bits
//   normal           = Box-Muller on the word pairs (w0, w1) and (w2, w3): r = sqrt(-2 ln((w0 + 1/2) 2^-32)),
//                      angle = 2 pi w1 2^-32; even lanes r cos(angle), odd lanes r sin(angle); |normal| < 6.77
//
// Everything is computed in double with + - * / sqrt and integers alone, each of which IEEE 754 rounds in one way; ln,
// sin and cos are the polynomials below. A compiler must not contract a*b+c into a fused operation: -ffp-contract=off
// on hosts (the default on baseline x86-64), explicit __dmul_rn/__dadd_rn on CUDA devices. -ffast-math is refused.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Box and Muller 1958.
#pragma once

#ifdef __FAST_MATH__
#error "medgen/sdk/noise.hpp needs exact arithmetic: compile without -ffast-math"
#endif

#ifdef __CUDACC__
#define MEDGEN_HD __host__ __device__
#else
#define MEDGEN_HD
#endif

// Short loops are unrolled, so that loops around them can become vector code.
#if defined(__CUDACC__)
#define MEDGEN_UNROLL
#elif defined(__clang__)
#define MEDGEN_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define MEDGEN_UNROLL _Pragma("GCC unroll 16")
#else
#define MEDGEN_UNROLL
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace medgen::noise {

/// Elements of one sample that have noise of their own.
inline constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 34;

struct Words {
  std::uint32_t w[4];
};

/// FNV-1a, 32 bits: the number a purpose ("init", "renoise" ...) stands for.
constexpr std::uint32_t purpose_hash(std::string_view purpose) noexcept {
  std::uint32_t hash = 2166136261u;
  for (const char c : purpose) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619u;
  return hash;
}

/// Philox 4x32 with 10 rounds: four random words from a counter and a key. Agrees with Random123's known answers.
MEDGEN_HD inline Words philox(Words counter, std::uint64_t key) noexcept {
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  MEDGEN_UNROLL
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.w[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter.w[2];
    counter = {{static_cast<std::uint32_t>(p1 >> 32) ^ counter.w[1] ^ k0, static_cast<std::uint32_t>(p1),
                static_cast<std::uint32_t>(p0 >> 32) ^ counter.w[3] ^ k1, static_cast<std::uint32_t>(p0)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

namespace exact {

// One rounding each, never fused.
#ifdef __CUDA_ARCH__
MEDGEN_HD inline double mul(double a, double b) {
  return __dmul_rn(a, b);
}

MEDGEN_HD inline double add(double a, double b) {
  return __dadd_rn(a, b);
}

MEDGEN_HD inline double div(double a, double b) {
  return __ddiv_rn(a, b);
}

MEDGEN_HD inline double sqrt(double a) {
  return __dsqrt_rn(a);
}
#else
MEDGEN_HD inline double mul(double a, double b) {
  return a * b;
}

MEDGEN_HD inline double add(double a, double b) {
  return a + b;
}

MEDGEN_HD inline double div(double a, double b) {
  return a / b;
}

MEDGEN_HD inline double sqrt(double a) {
  return std::sqrt(a);
}
#endif

/// c[0] + c[1] x + ... by Horner's rule.
template <int N>
MEDGEN_HD inline double polynomial(const double (&c)[N], double x) {
  double sum = c[N - 1];
  MEDGEN_UNROLL
  for (int i = N - 2; i >= 0; --i) sum = add(mul(sum, x), c[i]);
  return sum;
}

/// ln((w + 1/2) 2^-32), for any word; error below 2^-51 relative.
/// (2w + 1) 2^-33 = 2^e m with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172.
MEDGEN_HD inline double log_uniform(std::uint32_t w) {
  // By way of a signed integer, which every instruction set converts; all of it is exact.
  const double odd = 2.0 * (static_cast<double>(static_cast<std::int32_t>(w ^ 0x80000000u)) + 2147483648.0) + 1.0;
  std::uint64_t bits = 0;
  std::memcpy(&bits, &odd, sizeof bits);
  // Adding the distance from sqrt(1/2) to 1 carries into the exponent exactly when the fraction is at least sqrt(2).
  const std::uint64_t shifted = bits + (0x3FF0000000000000u - 0x3FE6A09E667F3BCDu);
  const int exponent = static_cast<int>(shifted >> 52) - 1023;
  const std::uint64_t mantissa = (shifted & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu;
  double m = 0;
  std::memcpy(&m, &mantissa, sizeof m);
  const double s = div(add(m, -1.0), add(m, 1.0));
  constexpr double kAtanh[] = {1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11,
                               1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
  const double z = mul(s, s);
  const double tail = mul(mul(s, z), polynomial(kAtanh, z));
  // ln 2 in two parts; the first has 20 trailing zero bits, so that its product with the exponent is exact.
  const double e = exponent - 33;
  const double low = add(mul(e, 0x1.a39ef35793c76p-33), mul(2.0, tail));
  return add(mul(e, 0x1.62e42feep-1), add(mul(2.0, s), low));
}

struct Rotation {
  double cosine;
  double sine;
};

/// Cosine and sine of 2 pi w 2^-32; error below 2^-51. The quadrant is taken from the integer, so the reduction is
/// exact and the series run over [-pi/4, pi/4].
MEDGEN_HD inline Rotation rotation(std::uint32_t w) {
  const std::uint32_t quadrant = (w + 0x20000000u) >> 30;
  const auto rest = static_cast<std::int32_t>(w - (quadrant << 30));
  constexpr double kTurn = 0x1.921fb54442d18p-30;  // 2 pi 2^-32
  const double x = mul(static_cast<double>(rest), kTurn);
  constexpr double kCos[] = {1.0,
                             -1.0 / 2,
                             1.0 / 24,
                             -1.0 / 720,
                             1.0 / 40320,
                             -1.0 / 3628800,
                             1.0 / 479001600,
                             -1.0 / 87178291200,
                             1.0 / 20922789888000};
  constexpr double kSin[] = {1.0,          -1.0 / 6,        1.0 / 120,        -1.0 / 5040,
                             1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000};
  const double z = mul(x, x);
  const double c = polynomial(kCos, z);
  const double s = mul(x, polynomial(kSin, z));
  const bool swapped = (quadrant & 1) != 0;
  const double cosine = swapped ? s : c;
  const double sine = swapped ? c : s;
  // Quadrants 0..3 map (c, s) to (c, s), (-s, c), (-c, -s), (s, -c).
  return {((quadrant + 1) & 2) != 0 ? -cosine : cosine, (quadrant & 2) != 0 ? -sine : sine};
}

}  // namespace exact

struct Pair {
  double first;
  double second;
};

/// Two independent N(0,1) numbers from two words.
MEDGEN_HD inline Pair box_muller(std::uint32_t radius_word, std::uint32_t angle_word) {
  const double radius = exact::sqrt(exact::mul(-2.0, exact::log_uniform(radius_word)));
  const exact::Rotation turn = exact::rotation(angle_word);
  return {exact::mul(radius, turn.cosine), exact::mul(radius, turn.sine)};
}

/// Everything but the element: one stream of noise.
struct Stream {
  std::uint64_t seed;
  std::uint32_t purpose;  ///< purpose_hash()
  std::uint32_t step;
  std::uint32_t sample;
};

/// The four words of elements 4 block ... 4 block + 3.
MEDGEN_HD inline Words words(const Stream& stream, std::uint32_t block) {
  return philox({{block, stream.purpose, stream.step, stream.sample}}, stream.seed);
}

/// The second set of words, which refines uniform doubles.
MEDGEN_HD inline Words fine_words(const Stream& stream, std::uint32_t block) {
  return philox({{block, stream.purpose + 1, stream.step, stream.sample}}, stream.seed);
}

MEDGEN_HD inline float uniform_float(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24F;
}

MEDGEN_HD inline double uniform_double(std::uint32_t word, std::uint32_t fine) {
  return static_cast<double>((std::uint64_t{word} << 21) | (fine >> 11)) * 0x1p-53;
}

/// N(0,1) of the four elements of one block, in double; float noise is these values rounded to nearest.
MEDGEN_HD inline void normals(const Stream& stream, std::uint32_t block, double (&out)[4]) {
  const Words w = words(stream, block);
  const Pair low = box_muller(w.w[0], w.w[1]);
  const Pair high = box_muller(w.w[2], w.w[3]);
  out[0] = low.first;
  out[1] = low.second;
  out[2] = high.first;
  out[3] = high.second;
}

/// N(0,1) of one element, e < kMaxElements (larger indices wrap around and repeat noise: hosts refuse them).
MEDGEN_HD inline double normal(const Stream& stream, std::uint64_t e) {
  const Words w = words(stream, static_cast<std::uint32_t>(e >> 2));
  const std::uint32_t first = (e & 2) != 0 ? 2 : 0;
  const Pair pair = box_muller(w.w[first], w.w[first + 1]);
  return (e & 1) != 0 ? pair.second : pair.first;
}

}  // namespace medgen::noise
