// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/tensor/tensor.h"

#include <cmath>
#include <limits>
#include <type_traits>

namespace medgen {

/// use(T{}) with the C++ type of the elements. The 16-bit floats have none: convert them to F32 first.
template <typename Use>
decltype(auto) with_element_type(DType dtype, Use&& use) {
  switch (dtype) {
    case DType::U8:
      return use(std::uint8_t{});
    case DType::I8:
      return use(std::int8_t{});
    case DType::U16:
      return use(std::uint16_t{});
    case DType::I16:
      return use(std::int16_t{});
    case DType::U32:
      return use(std::uint32_t{});
    case DType::I32:
      return use(std::int32_t{});
    case DType::U64:
      return use(std::uint64_t{});
    case DType::I64:
      return use(std::int64_t{});
    case DType::F32:
      return use(float{});
    case DType::F64:
      return use(double{});
    case DType::Bool:
      return use(bool{});
    case DType::F16:
    case DType::BF16:
      break;
  }
  throw RuntimeError("internal error: {} has no C++ type (please report it)", name_of(dtype));
}

inline bool is_half(DType dtype) {
  return dtype == DType::F16 || dtype == DType::BF16;
}

inline bool is_float(DType dtype) {
  return is_half(dtype) || dtype == DType::F32 || dtype == DType::F64;
}

/// `value` as an element, rounded only for the float types. @throws DataError when T cannot hold it; `what` names the
/// value.
template <typename T>
T element_of(double value, const char* what) {
  if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(value);
  } else {
    // 2^digits is exact as a double; max() may not be.
    const bool fits = value >= static_cast<double>(std::numeric_limits<T>::min()) &&
                      value < std::ldexp(1.0, std::numeric_limits<T>::digits) && value == std::trunc(value);
    if (!fits) throw DataError("{} {:g} does not fit into {} voxels", what, value, name_of(dtype_for<T>()));
    return static_cast<T>(value);
  }
}

}  // namespace medgen
