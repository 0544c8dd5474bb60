// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"

#include <cstring>

namespace medgen {

template <typename T>
constexpr DType dtype_for() {
  if constexpr (std::is_same_v<T, bool>) return DType::Bool;
  if constexpr (std::is_same_v<T, std::uint8_t>) return DType::U8;
  if constexpr (std::is_same_v<T, std::int8_t>) return DType::I8;
  if constexpr (std::is_same_v<T, std::uint16_t>) return DType::U16;
  if constexpr (std::is_same_v<T, std::int16_t>) return DType::I16;
  if constexpr (std::is_same_v<T, std::uint32_t>) return DType::U32;
  if constexpr (std::is_same_v<T, std::int32_t>) return DType::I32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return DType::U64;
  if constexpr (std::is_same_v<T, std::int64_t>) return DType::I64;
  if constexpr (std::is_same_v<T, float>) return DType::F32;
  if constexpr (std::is_same_v<T, double>) return DType::F64;
}

template <typename T>
std::span<T> Tensor::values() {
  check(dtype_for<T>() == dtype_, "tensor read with another element type");
  return {static_cast<T*>(data_), static_cast<std::size_t>(size_)};
}

template <typename T>
std::span<const T> Tensor::values() const {
  check(dtype_for<T>() == dtype_, "tensor read with another element type");
  return {static_cast<const T*>(data_), static_cast<std::size_t>(size_)};
}

template <typename T>
Tensor Tensor::from(std::span<const T> values, Shape shape) {
  Tensor tensor(dtype_for<T>(), std::move(shape));
  check(tensor.size() == static_cast<std::int64_t>(values.size()), "as many values as the shape holds");
  if (!values.empty()) std::memcpy(tensor.data(), values.data(), tensor.bytes());
  return tensor;
}

}  // namespace medgen
