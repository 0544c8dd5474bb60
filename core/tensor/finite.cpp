// SPDX-License-Identifier: Apache-2.0
#include "core/tensor/finite.h"

#include <cstring>

#include <algorithm>

namespace medgen {
namespace {

/// Elements whose exponent bits are all set. Integer arithmetic, in blocks that a narrow counter can hold: the compiler
/// turns it into vector instructions.
template <typename Bits>
std::int64_t count_exponents(const Tensor& tensor, Bits exponent) {
  constexpr std::size_t kBlock = 32768;
  const auto* bits = static_cast<const Bits*>(tensor.data());
  const auto size = static_cast<std::size_t>(tensor.size());
  std::int64_t total = 0;
  for (std::size_t first = 0; first < size; first += kBlock) {
    const std::size_t end = std::min(size, first + kBlock);
    Bits count = 0;
    for (std::size_t i = first; i < end; ++i)
      count = static_cast<Bits>(count + ((bits[i] & exponent) == exponent ? 1 : 0));
    total += static_cast<std::int64_t>(count);
  }
  return total;
}

}  // namespace

std::int64_t count_non_finite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::F16:
      return count_exponents<std::uint16_t>(tensor, 0x7c00U);
    case DType::BF16:
      return count_exponents<std::uint16_t>(tensor, 0x7f80U);
    case DType::F32:
      return count_exponents<std::uint32_t>(tensor, 0x7f800000U);
    case DType::F64:
      return count_exponents<std::uint64_t>(tensor, 0x7ff0000000000000U);
    default:
      return 0;
  }
}

bool is_constant(const Tensor& tensor) {
  const auto* const bytes = static_cast<const std::byte*>(tensor.data());
  const std::size_t width = size_of(tensor.dtype());
  return tensor.size() > 0 && std::memcmp(bytes, bytes + width, tensor.bytes() - width) == 0;
}

}  // namespace medgen
