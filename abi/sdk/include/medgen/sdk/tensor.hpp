// SPDX-License-Identifier: Apache-2.0
// Views of the host's tensors: named inputs, outputs that the host allocates, checks with messages a user understands.
#pragma once

#include <medgen/abi/tensor.h>
#include <medgen/sdk/error.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace medgen::sdk {

using Shape = std::vector<std::int64_t>;
using ShapeView = std::span<const std::int64_t>;

inline constexpr medgen_dtype_t kFloat16{MEDGEN_DTYPE_FLOAT, 16, 1};
inline constexpr medgen_dtype_t kBFloat16{MEDGEN_DTYPE_BFLOAT, 16, 1};
inline constexpr medgen_dtype_t kFloat32{MEDGEN_DTYPE_FLOAT, 32, 1};
inline constexpr medgen_dtype_t kFloat64{MEDGEN_DTYPE_FLOAT, 64, 1};

/// The dtype of a C++ element type.
template <typename T>
constexpr medgen_dtype_t dtype_of() {
  static_assert(std::is_arithmetic_v<T>, "an element is an integer, a float, a double or a bool");
  if (std::is_same_v<T, bool>) return {MEDGEN_DTYPE_BOOL, 8, 1};
  if (std::is_floating_point_v<T>) return {MEDGEN_DTYPE_FLOAT, 8 * sizeof(T), 1};
  return {std::is_signed_v<T> ? MEDGEN_DTYPE_INT : MEDGEN_DTYPE_UINT, 8 * sizeof(T), 1};
}

constexpr bool same(medgen_dtype_t a, medgen_dtype_t b) noexcept {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

/// "float32", "bfloat16", "uint8" ...
inline std::string to_string(medgen_dtype_t dtype) {
  switch (dtype.code) {
    case MEDGEN_DTYPE_INT:
      return text("int", int{dtype.bits});
    case MEDGEN_DTYPE_UINT:
      return text("uint", int{dtype.bits});
    case MEDGEN_DTYPE_FLOAT:
      return text("float", int{dtype.bits});
    case MEDGEN_DTYPE_BFLOAT:
      return text("bfloat", int{dtype.bits});
    case MEDGEN_DTYPE_BOOL:
      return "bool";
    default:
      return text("dtype(", int{dtype.code}, ",", int{dtype.bits}, ")");
  }
}

/// "1x4x16x16x8".
inline std::string to_string(ShapeView shape) {
  std::string out;
  for (const std::int64_t size : shape) {
    if (!out.empty()) out += 'x';
    out += std::to_string(size);
  }
  return shape.empty() ? "scalar" : out;
}

/// A read-only tensor: the host's memory, borrowed for the call.
class TensorView {
 public:
  explicit TensorView(const medgen_tensor_t& tensor, std::string name = "tensor")
      : tensor_(tensor), name_(std::move(name)) {}

  const std::string& name() const noexcept { return name_; }

  std::size_t ndim() const noexcept { return static_cast<std::size_t>(tensor_.ndim); }

  ShapeView shape() const noexcept { return {tensor_.shape, ndim()}; }

  ShapeView strides() const noexcept { return {tensor_.strides, ndim()}; }

  medgen_dtype_t dtype() const noexcept { return tensor_.dtype; }

  medgen_device_t device() const noexcept { return tensor_.device; }

  bool on_cpu() const noexcept { return tensor_.device.type != MEDGEN_DEVICE_CUDA; }

  const medgen_tensor_t& abi() const noexcept { return tensor_; }

  /// Size of one axis; negative axes count from the end. @throws Error when there is no such axis.
  std::int64_t size(int axis) const {
    const int i = axis < 0 ? axis + tensor_.ndim : axis;
    if (i < 0 || i >= tensor_.ndim) throw invalid(name_, " has shape ", to_string(shape()), ", so no axis ", axis);
    return tensor_.shape[i];
  }

  /// Number of elements.
  std::int64_t count() const noexcept {
    std::int64_t product = 1;
    for (const std::int64_t size : shape()) product *= size;
    return product;
  }

  /// True when the elements lie row-major without gaps.
  bool contiguous() const noexcept {
    std::int64_t expected = 1;
    for (std::size_t i = ndim(); i-- > 0;) {
      if (tensor_.shape[i] != 1 && tensor_.strides[i] != expected) return false;
      expected *= tensor_.shape[i];
    }
    return true;
  }

  /// Address of the first element, on `device()`.
  const void* address() const noexcept { return static_cast<const std::byte*>(tensor_.data) + tensor_.byte_offset; }

  /// Asks for a shape; -1 stands for any size. @throws Error that names both shapes.
  const TensorView& expect_shape(std::initializer_list<std::int64_t> expected) const {
    bool matches = expected.size() == ndim();
    for (std::size_t i = 0; matches && i < ndim(); ++i) {
      matches = expected.begin()[i] == -1 || expected.begin()[i] == tensor_.shape[i];
    }
    if (!matches) {
      throw invalid(name_, " has shape ", to_string(shape()), ", expected ",
                    to_string(ShapeView(expected.begin(), expected.size())), " (-1 is any size)");
    }
    return *this;
  }

  /// The elements where they lie. @throws Error unless the tensor is a contiguous CPU tensor of T.
  template <typename T>
  std::span<const T> values() const {
    require_plain<T>();
    return {static_cast<const T*>(address()), static_cast<std::size_t>(count())};
  }

  /// The elements in row-major order, converted to T from any dtype and any strides; for small CPU tensors.
  template <typename T>
  std::vector<T> to_vector() const;

 protected:
  template <typename T>
  void require_plain() const {
    if (!same(dtype(), dtype_of<T>())) {
      throw Error(MEDGEN_E_UNSUPPORTED,
                  text(name_, " is ", to_string(dtype()), ", expected ", to_string(dtype_of<T>())));
    }
    if (!on_cpu()) throw Error(MEDGEN_E_UNSUPPORTED, text(name_, " is on a device, expected on the CPU"));
    if (!contiguous()) throw Error(MEDGEN_E_UNSUPPORTED, text(name_, " is strided, expected contiguous"));
  }

 private:
  medgen_tensor_t tensor_;
  std::string name_;
};

/// An output: memory that the host allocated for this call, contents unspecified until written.
class Tensor : public TensorView {
 public:
  using TensorView::TensorView;

  void* address() const noexcept { return const_cast<void*>(TensorView::address()); }

  /// The elements to be written. @throws Error unless the tensor is a contiguous CPU tensor of T.
  template <typename T>
  std::span<T> values() const {
    require_plain<T>();
    return {static_cast<T*>(address()), static_cast<std::size_t>(count())};
  }
};

/// Named tensors that go into a call, and the scalars of the call.
class Binds {
 public:
  explicit Binds(const medgen_binds_t& binds) : binds_(&binds) {}

  bool has(std::string_view name) const noexcept { return find_bind(name) != nullptr; }

  /// @throws Error (MEDGEN_E_NOT_FOUND) that lists the names which are there.
  TensorView tensor(std::string_view name) const {
    if (const medgen_bind_t* bind = find_bind(name)) return TensorView(*bind->tensor, std::string(name));
    throw Error(MEDGEN_E_NOT_FOUND, text("input '", name, "' is missing; given: ", list_names()));
  }

  /// The tensor, or nothing where the name is absent.
  std::optional<TensorView> find(std::string_view name) const {
    if (const medgen_bind_t* bind = find_bind(name)) return TensorView(*bind->tensor, std::string(name));
    return std::nullopt;
  }

  /// Where the volume `name` lies in the world, NULL when it is no volume or absent.
  const medgen_space_t* space(std::string_view name) const noexcept {
    const medgen_bind_t* bind = find_bind(name);
    return bind == nullptr ? nullptr : bind->space;
  }

  std::vector<std::string_view> names() const {
    std::vector<std::string_view> out;
    for (const medgen_bind_t& bind : items()) out.push_back(from_abi(bind.name));
    return out;
  }

  /// A JSON object, or empty.
  std::string_view params() const noexcept { return from_abi(binds_->params_json); }

  std::span<const medgen_bind_t> items() const noexcept { return {binds_->items, binds_->count}; }

  const medgen_binds_t& abi() const noexcept { return *binds_; }

 private:
  const medgen_bind_t* find_bind(std::string_view name) const noexcept {
    for (const medgen_bind_t& bind : items()) {
      if (from_abi(bind.name) == name && bind.tensor != nullptr) return &bind;
    }
    return nullptr;
  }

  std::string list_names() const {
    std::string out;
    for (const std::string_view name : names()) {
      if (!out.empty()) out += ", ";
      out += name;
    }
    return out.empty() ? "nothing" : out;
  }

  const medgen_binds_t* binds_;
};

/// Where a call puts its results.
class Outputs {
 public:
  explicit Outputs(const medgen_outputs_t& outputs) : outputs_(&outputs) {}

  /// Memory for the result `name`; asking again with the same shape gives the same memory.
  /// @param space  where a volume lies, NULL for what is no volume.  @throws Error when the host refuses.
  Tensor allocate(std::string_view name, medgen_dtype_t dtype, ShapeView shape, const medgen_space_t* space = nullptr) {
    medgen_tensor_t tensor{};
    require_ok(outputs_->allocate(outputs_->host, to_abi(name), dtype, static_cast<std::int32_t>(shape.size()),
                                  shape.data(), space, &tensor),
               text("allocating output '", name, "' (", to_string(dtype), " ", to_string(shape), ")"));
    return Tensor(tensor, std::string(name));
  }

  template <typename T>
  Tensor allocate(std::string_view name, ShapeView shape, const medgen_space_t* space = nullptr) {
    return allocate(name, dtype_of<T>(), shape, space);
  }

  const medgen_outputs_t& abi() const noexcept { return *outputs_; }

 private:
  const medgen_outputs_t* outputs_;
};

namespace detail {

inline float half_to_float(std::uint16_t half) noexcept {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
  return sign != 0 ? -magnitude : magnitude;
}

/// Calls visit(reader), where reader(i) is the element i places after the first, in the tensor's own arithmetic type.
template <typename Visit>
void with_reader(const TensorView& tensor, Visit visit) {
  const void* base = tensor.address();
  const auto as = [&]<typename T>(T) { visit([p = static_cast<const T*>(base)](std::int64_t i) { return p[i]; }); };
  const medgen_dtype_t dtype = tensor.dtype();
  if (same(dtype, dtype_of<float>())) return as(float{});
  if (same(dtype, dtype_of<double>())) return as(double{});
  if (same(dtype, dtype_of<std::int64_t>())) return as(std::int64_t{});
  if (same(dtype, dtype_of<std::int32_t>())) return as(std::int32_t{});
  if (same(dtype, dtype_of<std::int16_t>())) return as(std::int16_t{});
  if (same(dtype, dtype_of<std::int8_t>())) return as(std::int8_t{});
  if (same(dtype, dtype_of<std::uint64_t>())) return as(std::uint64_t{});
  if (same(dtype, dtype_of<std::uint32_t>())) return as(std::uint32_t{});
  if (same(dtype, dtype_of<std::uint16_t>())) return as(std::uint16_t{});
  if (same(dtype, dtype_of<std::uint8_t>()) || same(dtype, dtype_of<bool>())) return as(std::uint8_t{});
  const auto* half = static_cast<const std::uint16_t*>(base);
  if (same(dtype, kFloat16)) return visit([half](std::int64_t i) { return half_to_float(half[i]); });
  if (same(dtype, kBFloat16))
    return visit([half](std::int64_t i) { return std::bit_cast<float>(std::uint32_t{half[i]} << 16); });
  throw Error(MEDGEN_E_UNSUPPORTED, text(tensor.name(), " is ", to_string(dtype), ", which cannot be read"));
}

}  // namespace detail

template <typename T>
std::vector<T> TensorView::to_vector() const {
  if (!on_cpu()) throw Error(MEDGEN_E_UNSUPPORTED, text(name_, " is on a device, expected on the CPU"));
  std::vector<T> out(static_cast<std::size_t>(count()));
  detail::with_reader(*this, [&](auto element) {
    Shape index(ndim(), 0);
    for (T& value : out) {
      std::int64_t offset = 0;
      for (std::size_t axis = 0; axis < ndim(); ++axis) offset += index[axis] * tensor_.strides[axis];
      value = static_cast<T>(element(offset));
      for (std::size_t axis = ndim(); axis-- > 0 && ++index[axis] == tensor_.shape[axis];) index[axis] = 0;
    }
  });
  return out;
}

}  // namespace medgen::sdk
