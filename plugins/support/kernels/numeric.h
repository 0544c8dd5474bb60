// SPDX-License-Identifier: Apache-2.0
// Scalars of the kernels: what the host's compiler and nvcc both understand. No LibTorch.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define MEDGEN_HD __host__ __device__ inline
#else
#define MEDGEN_HD inline __attribute__((always_inline))
#endif

namespace medgen::kernels {

/// bfloat16 as memory holds it.
struct Bf16 {
  std::uint16_t bits;
};

MEDGEN_HD float bits_to_float(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

MEDGEN_HD std::uint32_t float_to_bits(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

MEDGEN_HD float load(float value) {
  return value;
}

MEDGEN_HD float load(Bf16 value) {
  return bits_to_float(static_cast<std::uint32_t>(value.bits) << 16);
}

MEDGEN_HD void store(float value, float* to) {
  *to = value;
}

/// To the nearest, ties to even; NaN stays NaN.
MEDGEN_HD void store(float value, Bf16* to) {
  const std::uint32_t bits = float_to_bits(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  // All ones for a NaN; a comparison that selects would keep loops from becoming vector code.
  const std::uint32_t nan = 0U - static_cast<std::uint32_t>((bits & 0x7FFFFFFFU) > 0x7F800000U);
  to->bits = static_cast<std::uint16_t>((rounded & ~nan) | (0x7FC0U & nan));
}

/// exp(x) without branches, so that loops over it become vector code; within 2 units in the last place between -87 and
/// 88, and clamped to that range. Cephes' polynomial.
MEDGEN_HD float exponential(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer in the last bits
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * bits_to_float((float_to_bits(shifted) << 23) + 0x3F800000U);
}

/// x / (1 + exp(-x))
MEDGEN_HD float silu(float x) {
  return x / (1.0F + exponential(-x));
}

}  // namespace medgen::kernels
