// SPDX-License-Identifier: Apache-2.0
// Scalars of the kernels: what the host's compiler and nvcc both understand. No LibTorch.
#pragma once

#include <cstdint>
#include <cstring>

// Marks what runs on the CPU and on CUDA devices.
#if defined(__CUDACC__)
#define MEDGEN_KERNEL __host__ __device__ inline
#else
#define MEDGEN_KERNEL inline __attribute__((always_inline))
#endif

namespace medgen::kernels {

/// bfloat16 as memory holds it.
struct Bf16 {
  std::uint16_t bits;
};

MEDGEN_KERNEL float bits_to_float(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MEDGEN_KERNEL std::uint32_t float_to_bits(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

MEDGEN_KERNEL float load(float value) {
  return value;
}

MEDGEN_KERNEL float load(Bf16 value) {
  return bits_to_float(static_cast<std::uint32_t>(value.bits) << 16);
}

MEDGEN_KERNEL void store(float value, float* to) {
  *to = value;
}

MEDGEN_KERNEL void store(Bf16 value, Bf16* to) {
  to->bits = value.bits;
}

/// To the nearest, ties to even; NaN stays NaN.
MEDGEN_KERNEL void store(float value, Bf16* to) {
  const std::uint32_t bits = float_to_bits(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  // All ones for a NaN; a comparison that selects would keep loops from becoming vector code.
  const std::uint32_t nan = 0U - static_cast<std::uint32_t>((bits & 0x7FFFFFFFU) > 0x7F800000U);
  to->bits = static_cast<std::uint16_t>((rounded & ~nan) | (0x7FC0U & nan));
}

/// exp(x) of a number or a vector of numbers, and unsigned integers of its size; without branches, so that loops over
/// it become vector code. Within 2 units in the last place between -87 and 88, and clamped to that range. Cephes'
/// polynomial.
template <typename Value, typename Word>
MEDGEN_KERNEL Value exponential_of(Value x) {
  x = x < -87.0F ? Value{} - 87.0F : x;
  x = x > 88.0F ? Value{} + 88.0F : x;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer in the last bits
  const Value shifted = x * 1.44269504F + kRound;
  const Value n = shifted - kRound;
  const Value r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  Value p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  Word bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3F800000U;
  Value scale;
  memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

MEDGEN_KERNEL float exponential(float x) {
  return exponential_of<float, std::uint32_t>(x);
}

/// exp(x) of doubles, of operations that IEEE 754 defines to the last bit: the same on every device. Relative error
/// below 2^-50 between -700 and 700, and clamped to that range.
MEDGEN_KERNEL double exponential(double x) {
  x = x < -700.0 ? -700.0 : x;
  x = x > 700.0 ? 700.0 : x;
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the last bits
  const double shifted = x * 0x1.71547652b82fep0 + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r * r + r + 1.0;
  std::uint64_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 52) + 0x3FF0000000000000U;
  double scale;
  memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

/// x / (1 + exp(-x))
MEDGEN_KERNEL float silu(float x) {
  return x / (1.0F + exponential(-x));
}

}  // namespace medgen::kernels
