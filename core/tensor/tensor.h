// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/tensor.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

enum class DType : std::uint8_t { U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64, Bool };

/// Bytes of one element.
std::size_t size_of(DType dtype);
/// The safetensors name: "F32", "BF16", "U8" ...
std::string_view name_of(DType dtype);
medgen_dtype_t abi_dtype(DType dtype);
/// @throws DataError for a dtype medgen does not know.
DType dtype_of(medgen_dtype_t dtype);

template <typename T>
constexpr DType dtype_for();

using Shape = std::vector<std::int64_t>;

/// "1x4x16x16x8", for messages.
std::string to_string(const Shape& shape);
/// Product of the axes. @throws DataError when an axis is negative or the product overflows.
std::int64_t element_count(const Shape& shape);

/// A dense row-major array on the CPU. Copies share the memory; `clone` does not. A tensor made from borrowed memory
/// keeps its owner alive. Elements are uninitialised unless `zeros` made them.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);
  /// Borrowed memory: `owner` lives as long as any copy of this tensor.
  Tensor(DType dtype, Shape shape, void* data, std::shared_ptr<const void> owner);

  static Tensor zeros(DType dtype, Shape shape);
  template <typename T>
  static Tensor from(std::span<const T> values, Shape shape);
  static Tensor scalar(float value);

  bool empty() const noexcept { return data_ == nullptr; }

  DType dtype() const noexcept { return dtype_; }

  const Shape& shape() const noexcept { return shape_; }

  std::int64_t size() const noexcept { return size_; }

  std::size_t bytes() const noexcept { return static_cast<std::size_t>(size_) * size_of(dtype_); }

  void* data() noexcept { return data_; }

  const void* data() const noexcept { return data_; }

  /// Typed view. @throws RuntimeError when T is not the dtype.
  template <typename T>
  std::span<T> values();
  template <typename T>
  std::span<const T> values() const;

  Tensor clone() const;
  /// Same memory, other shape of the same size.
  Tensor reshape(Shape shape) const;
  /// Every element converted; float to integer rounds to nearest and saturates.
  Tensor to(DType dtype) const;
  /// Rows [first, first + count) of axis 0, sharing the memory.
  Tensor rows(std::int64_t first, std::int64_t count) const;

  /// The C view; it borrows this object's shape and strides.
  medgen_tensor_t abi() const;
  /// A tensor with the contents of a C tensor: a copy when strided, else a view when `owner` is given.
  /// @throws DataError as checked_shape, DeviceError for one on a GPU
  static Tensor from_abi(const medgen_tensor_t& tensor, std::shared_ptr<const void> owner = nullptr);

 private:
  DType dtype_ = DType::F32;
  Shape shape_;
  Shape strides_;
  std::int64_t size_ = 0;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

/// Most axes of a tensor that crosses the plugin ABI.
inline constexpr std::int32_t kMostAxes = 8;

/// The shape of a C tensor that a plugin gives, on any device. @throws DataError when it is none: more axes than
/// kMostAxes, one that is negative, or no shape, strides or memory where there have to be
Shape checked_shape(const medgen_tensor_t& tensor);

/// Whether the elements of such a tensor lie one after the other, the last axis fastest.
bool is_dense(const medgen_tensor_t& tensor);

using TensorMap = std::map<std::string, Tensor>;

/// Tensors joined along axis 0. @throws DataError when the other axes or dtypes differ.
Tensor concat_rows(std::span<const Tensor> tensors);
/// The box [origin, origin + extent) of the last extent.size() axes, copied.
Tensor crop(const Tensor& tensor, const Shape& origin, const Shape& extent);
/// Writes `patch` into that box of the last axes of `tensor`.
void paste(Tensor& tensor, const Tensor& patch, const Shape& origin);

}  // namespace medgen

#include "core/tensor/tensor_inl.h"
