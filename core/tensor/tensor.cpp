// SPDX-License-Identifier: Apache-2.0
#include "core/tensor/tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <new>

namespace medgen {
namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::uint8_t code;
  std::uint8_t bits;
};

constexpr std::array<DTypeRow, 13> kDTypes{{
    {DType::U8, "U8", MEDGEN_DTYPE_UINT, 8},
    {DType::I8, "I8", MEDGEN_DTYPE_INT, 8},
    {DType::U16, "U16", MEDGEN_DTYPE_UINT, 16},
    {DType::I16, "I16", MEDGEN_DTYPE_INT, 16},
    {DType::U32, "U32", MEDGEN_DTYPE_UINT, 32},
    {DType::I32, "I32", MEDGEN_DTYPE_INT, 32},
    {DType::U64, "U64", MEDGEN_DTYPE_UINT, 64},
    {DType::I64, "I64", MEDGEN_DTYPE_INT, 64},
    {DType::F16, "F16", MEDGEN_DTYPE_FLOAT, 16},
    {DType::BF16, "BF16", MEDGEN_DTYPE_BFLOAT, 16},
    {DType::F32, "F32", MEDGEN_DTYPE_FLOAT, 32},
    {DType::F64, "F64", MEDGEN_DTYPE_FLOAT, 64},
    {DType::Bool, "BOOL", MEDGEN_DTYPE_BOOL, 8},
}};

const DTypeRow& row_of(DType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)];
}

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * std::max<std::int64_t>(shape[i], 1);
  return strides;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
  return sign != 0 ? -magnitude : magnitude;
}

std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00u;
  if (magnitude >= 65520.0F) return sign | 0x7c00u;
  if (magnitude < 0x1p-14F) return sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F));
  const std::uint32_t rounded = bits + 0xfffu + ((bits >> 13) & 1u);
  return sign | static_cast<std::uint16_t>(((rounded & 0x7fffffffu) >> 13) - (112u << 10));
}

float bfloat_to_float(std::uint16_t bfloat) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bfloat) << 16);
}

std::uint16_t float_to_bfloat(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <typename To, typename From>
To convert_value(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return value != From{0};
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    if (std::isnan(value)) return To{0};
    const From rounded = std::nearbyint(value);
    // 2^digits is exact in any float type; max() itself may not be.
    if (rounded >= std::ldexp(From{1}, std::numeric_limits<To>::digits)) return std::numeric_limits<To>::max();
    if (rounded <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
    return static_cast<To>(rounded);
  } else if constexpr (std::is_integral_v<To> && std::is_integral_v<From> && !std::is_same_v<From, bool>) {
    if (std::in_range<To>(value)) return static_cast<To>(value);
    return std::cmp_less(value, 0) ? std::numeric_limits<To>::min() : std::numeric_limits<To>::max();
  } else {
    return static_cast<To>(value);
  }
}

/// Calls visit(load, T{}) style access: `use(n -> value)` with the element type of `tensor` widened where it is 16-bit
/// float.
template <typename Use>
void with_reader(const Tensor& tensor, Use use) {
  const void* data = tensor.data();
  const auto as = [data]<typename T>(T) {
    return [values = static_cast<const T*>(data)](std::size_t i) { return values[i]; };
  };
  const auto* halves = static_cast<const std::uint16_t*>(data);
  switch (tensor.dtype()) {
    case DType::U8:
      return use(as(std::uint8_t{}));
    case DType::I8:
      return use(as(std::int8_t{}));
    case DType::U16:
      return use(as(std::uint16_t{}));
    case DType::I16:
      return use(as(std::int16_t{}));
    case DType::U32:
      return use(as(std::uint32_t{}));
    case DType::I32:
      return use(as(std::int32_t{}));
    case DType::U64:
      return use(as(std::uint64_t{}));
    case DType::I64:
      return use(as(std::int64_t{}));
    case DType::F32:
      return use(as(float{}));
    case DType::F64:
      return use(as(double{}));
    case DType::Bool:
      return use(as(bool{}));
    case DType::F16:
      return use([halves](std::size_t i) { return half_to_float(halves[i]); });
    case DType::BF16:
      return use([halves](std::size_t i) { return bfloat_to_float(halves[i]); });
  }
}

template <typename Reader>
void write_converted(Tensor& target, const Reader& read) {
  const auto count = static_cast<std::size_t>(target.size());
  const auto fill = [&]<typename T>(T) {
    auto* values = static_cast<T*>(target.data());
    for (std::size_t i = 0; i < count; ++i) values[i] = convert_value<T>(read(i));
  };
  auto* halves = static_cast<std::uint16_t*>(target.data());
  switch (target.dtype()) {
    case DType::U8:
      return fill(std::uint8_t{});
    case DType::I8:
      return fill(std::int8_t{});
    case DType::U16:
      return fill(std::uint16_t{});
    case DType::I16:
      return fill(std::int16_t{});
    case DType::U32:
      return fill(std::uint32_t{});
    case DType::I32:
      return fill(std::int32_t{});
    case DType::U64:
      return fill(std::uint64_t{});
    case DType::I64:
      return fill(std::int64_t{});
    case DType::F32:
      return fill(float{});
    case DType::F64:
      return fill(double{});
    case DType::Bool:
      return fill(bool{});
    case DType::F16:
      for (std::size_t i = 0; i < count; ++i) halves[i] = float_to_half(static_cast<float>(read(i)));
      return;
    case DType::BF16:
      for (std::size_t i = 0; i < count; ++i) halves[i] = float_to_bfloat(static_cast<float>(read(i)));
      return;
  }
}

/// Calls row(offset in tensor, offset in patch) for every run of the innermost axis of a box.
template <typename Row>
void for_each_row(const Shape& shape, const Shape& origin, const Shape& extent, Row row) {
  const std::size_t lead = shape.size() - extent.size();
  Shape box(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(lead));
  box.insert(box.end(), extent.begin(), extent.end());
  if (element_count(box) == 0) return;
  const Shape strides = dense_strides(shape);
  Shape index(shape.size(), 0);
  std::int64_t in_patch = 0;
  while (true) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < shape.size(); ++i)
      offset += strides[i] * (index[i] + (i >= lead ? origin[i - lead] : 0));
    row(offset, in_patch, box.back());
    in_patch += box.back();
    std::size_t axis = shape.size() - 1;
    while (axis > 0 && ++index[axis - 1] == box[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

void check_box(const Tensor& tensor, const Shape& origin, const Shape& extent) {
  check(!extent.empty() && extent.size() <= tensor.shape().size() && origin.size() == extent.size(),
        "box fits the axes");
  const std::size_t lead = tensor.shape().size() - extent.size();
  for (std::size_t i = 0; i < extent.size(); ++i) {
    check(origin[i] >= 0 && extent[i] >= 0 && origin[i] + extent[i] <= tensor.shape()[lead + i],
          "box inside the tensor");
  }
}

}  // namespace

std::size_t size_of(DType dtype) {
  return row_of(dtype).bits / 8u;
}

std::string_view name_of(DType dtype) {
  return row_of(dtype).name;
}

medgen_dtype_t abi_dtype(DType dtype) {
  return {row_of(dtype).code, row_of(dtype).bits, 1};
}

DType dtype_of(medgen_dtype_t dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.code == dtype.code && row.bits == dtype.bits && dtype.lanes == 1) return row.dtype;
  }
  throw DataError("tensor element type (code {}, {} bits, {} lanes) is not supported", dtype.code, dtype.bits,
                  dtype.lanes);
}

std::string to_string(const Shape& shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t axis : shape) {
    if (axis < 0 || __builtin_mul_overflow(count, axis, &count))
      throw DataError("impossible tensor shape {}", to_string(shape));
  }
  return count;
}

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), strides_(dense_strides(shape_)), size_(element_count(shape_)) {
  constexpr std::align_val_t kAlignment{64};
  std::size_t wanted = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(size_), size_of(dtype_), &wanted)) {
    throw OutOfMemoryError("a {} tensor of shape {} has more bytes than can be addressed", name_of(dtype_),
                           to_string(shape_));
  }
  void* memory = ::operator new(std::max<std::size_t>(wanted, 1), kAlignment, std::nothrow);
  if (memory == nullptr) {
    throw OutOfMemoryError("cannot allocate {} bytes for a {} tensor of shape {}", wanted, name_of(dtype_),
                           to_string(shape_));
  }
  data_ = memory;
  owner_ =
      std::shared_ptr<const void>(memory, [](const void* p) { ::operator delete(const_cast<void*>(p), kAlignment); });
}

Tensor::Tensor(DType dtype, Shape shape, void* data, std::shared_ptr<const void> owner)
    : dtype_(dtype),
      shape_(std::move(shape)),
      strides_(dense_strides(shape_)),
      size_(element_count(shape_)),
      data_(data),
      owner_(std::move(owner)) {}

Tensor Tensor::zeros(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  std::memset(tensor.data(), 0, tensor.bytes());
  return tensor;
}

Tensor Tensor::scalar(float value) {
  return from(std::span<const float>(&value, 1), {1});
}

Tensor Tensor::clone() const {
  Tensor copy(dtype_, shape_);
  if (size_ > 0) std::memcpy(copy.data_, data_, bytes());
  return copy;
}

Tensor Tensor::reshape(Shape shape) const {
  check(element_count(shape) == size_, "reshape keeps the number of elements");
  return Tensor(dtype_, std::move(shape), data_, owner_);
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result(dtype, shape_);
  with_reader(*this, [&](const auto& read) { write_converted(result, read); });
  return result;
}

Tensor Tensor::rows(std::int64_t first, std::int64_t count) const {
  check(!shape_.empty() && first >= 0 && count >= 0 && first + count <= shape_[0], "rows inside the tensor");
  Shape shape = shape_;
  shape[0] = count;
  const auto offset = static_cast<std::size_t>(first * strides_[0]) * size_of(dtype_);
  return Tensor(dtype_, std::move(shape), static_cast<std::byte*>(data_) + offset, owner_);
}

medgen_tensor_t Tensor::abi() const {
  medgen_tensor_t view{};
  view.data = data_;
  view.device = {MEDGEN_DEVICE_CPU, 0};
  view.ndim = static_cast<std::int32_t>(shape_.size());
  view.dtype = abi_dtype(dtype_);
  view.shape = const_cast<std::int64_t*>(shape_.data());
  view.strides = const_cast<std::int64_t*>(strides_.data());
  return view;
}

Shape checked_shape(const medgen_tensor_t& tensor) {
  if (tensor.ndim < 0 || tensor.ndim > kMostAxes)
    throw DataError("a tensor has {} axes, at most {} are possible", tensor.ndim, kMostAxes);
  if (tensor.ndim > 0 && (tensor.shape == nullptr || tensor.strides == nullptr))
    throw DataError("a tensor has no {}", tensor.shape == nullptr ? "shape" : "strides");
  Shape shape(tensor.shape, tensor.shape + tensor.ndim);
  if (element_count(shape) > 0 && tensor.data == nullptr) throw DataError("a tensor has no memory");
  return shape;
}

bool is_dense(const medgen_tensor_t& tensor) {
  const Shape shape = checked_shape(tensor);
  const Shape dense = dense_strides(shape);
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] > 1 && tensor.strides[i] != dense[i]) return false;
  }
  return true;
}

Tensor Tensor::from_abi(const medgen_tensor_t& tensor, std::shared_ptr<const void> owner) {
  if (tensor.device.type == MEDGEN_DEVICE_CUDA)
    throw DeviceError("a tensor on a GPU was given where one on the CPU is needed");
  const DType dtype = dtype_of(tensor.dtype);
  Shape shape = checked_shape(tensor);
  const std::size_t width = size_of(dtype);
  auto* base = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  const bool contiguous = is_dense(tensor);
  if (contiguous && owner) return Tensor(dtype, std::move(shape), base, std::move(owner));

  Tensor copy(dtype, shape);
  if (copy.size() == 0) return copy;
  if (contiguous) {
    std::memcpy(copy.data(), base, copy.bytes());
    return copy;
  }
  Shape index(shape.size(), 0);
  for (std::int64_t n = 0; n < copy.size(); ++n) {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) offset += tensor.strides[i] * index[i];
    std::memcpy(static_cast<std::byte*>(copy.data()) + static_cast<std::size_t>(n) * width,
                base + offset * static_cast<std::int64_t>(width), width);
    for (std::size_t axis = shape.size(); axis-- > 0 && ++index[axis] == shape[axis];) index[axis] = 0;
  }
  return copy;
}

Tensor concat_rows(std::span<const Tensor> tensors) {
  check(!tensors.empty(), "something to join");
  Shape shape = tensors.front().shape();
  shape.at(0) = 0;
  for (const Tensor& tensor : tensors) {
    Shape expected = tensors.front().shape();
    expected[0] = tensor.shape().empty() ? 0 : tensor.shape()[0];
    if (tensor.shape() != expected || tensor.dtype() != tensors.front().dtype()) {
      throw DataError("cannot join {} {} and {} {} along the batch axis", name_of(tensors.front().dtype()),
                      to_string(tensors.front().shape()), name_of(tensor.dtype()), to_string(tensor.shape()));
    }
    shape[0] += tensor.shape()[0];
  }
  Tensor joined(tensors.front().dtype(), shape);
  auto* target = static_cast<std::byte*>(joined.data());
  for (const Tensor& tensor : tensors) {
    if (tensor.size() > 0) std::memcpy(target, tensor.data(), tensor.bytes());
    target += tensor.bytes();
  }
  return joined;
}

Tensor crop(const Tensor& tensor, const Shape& origin, const Shape& extent) {
  check_box(tensor, origin, extent);
  Shape shape(tensor.shape().begin(), tensor.shape().end() - static_cast<std::ptrdiff_t>(extent.size()));
  shape.insert(shape.end(), extent.begin(), extent.end());
  Tensor patch(tensor.dtype(), shape);
  const std::size_t width = size_of(tensor.dtype());
  for_each_row(tensor.shape(), origin, extent, [&](std::int64_t from, std::int64_t to, std::int64_t count) {
    std::memcpy(static_cast<std::byte*>(patch.data()) + static_cast<std::size_t>(to) * width,
                static_cast<const std::byte*>(tensor.data()) + static_cast<std::size_t>(from) * width,
                static_cast<std::size_t>(count) * width);
  });
  return patch;
}

void paste(Tensor& tensor, const Tensor& patch, const Shape& origin) {
  const Shape extent(patch.shape().end() - static_cast<std::ptrdiff_t>(origin.size()), patch.shape().end());
  check_box(tensor, origin, extent);
  check(patch.dtype() == tensor.dtype() && patch.shape().size() == tensor.shape().size(), "patch of the tensor's kind");
  const std::size_t width = size_of(tensor.dtype());
  for_each_row(tensor.shape(), origin, extent, [&](std::int64_t to, std::int64_t from, std::int64_t count) {
    std::memcpy(static_cast<std::byte*>(tensor.data()) + static_cast<std::size_t>(to) * width,
                static_cast<const std::byte*>(patch.data()) + static_cast<std::size_t>(from) * width,
                static_cast<std::size_t>(count) * width);
  });
}

}  // namespace medgen
