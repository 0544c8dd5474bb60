// SPDX-License-Identifier: Apache-2.0
#include "core/weights/pickle_numpy.h"

#include "core/base/error.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

// What numpy.dtype, numpy scalars and numpy.ndarray pickle to is described in NumPy's `__reduce__` and `__setstate__`.
namespace medgen::pickle {
namespace {

/// dtype('f4') with state (3, '<', ...); nothing for records, strings, objects and big-endian numbers.
std::optional<DType> numpy_dtype(const Value& value) {
  static const std::unordered_map<std::string_view, DType> kCodes{
      {"u1", DType::U8},  {"i1", DType::I8},  {"u2", DType::U16}, {"i2", DType::I16},
      {"u4", DType::U32}, {"i4", DType::I32}, {"u8", DType::U64}, {"i8", DType::I64},
      {"f2", DType::F16}, {"f4", DType::F32}, {"f8", DType::F64}, {"b1", DType::Bool},
  };
  const auto* object = value.as<Opaque>();
  if (object == nullptr || object->type.full_name() != "numpy.dtype" || object->args == nullptr) return std::nullopt;
  const auto* args = object->args->as<Tuple>();
  const auto* code = args == nullptr || args->items.empty() ? nullptr : args->items[0]->as<std::string>();
  const auto* state = object->state == nullptr ? nullptr : object->state->as<Tuple>();
  const auto* order = state == nullptr || state->items.size() < 2 ? nullptr : state->items[1]->as<std::string>();
  if (code == nullptr || (order != nullptr && *order == ">")) return std::nullopt;
  const auto found = kCodes.find(*code);
  return found == kCodes.end() ? std::nullopt : std::optional(found->second);
}

template <typename T>
T load(const std::string& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::optional<Data> number(DType dtype, const std::string& bytes) {
  if (bytes.size() != size_of(dtype)) return std::nullopt;
  switch (dtype) {
    case DType::U8:
      return std::int64_t{load<std::uint8_t>(bytes)};
    case DType::I8:
      return std::int64_t{load<std::int8_t>(bytes)};
    case DType::U16:
      return std::int64_t{load<std::uint16_t>(bytes)};
    case DType::I16:
      return std::int64_t{load<std::int16_t>(bytes)};
    case DType::U32:
      return std::int64_t{load<std::uint32_t>(bytes)};
    case DType::I32:
      return std::int64_t{load<std::int32_t>(bytes)};
    case DType::I64:
      return load<std::int64_t>(bytes);
    case DType::F32:
      return double{load<float>(bytes)};
    case DType::F64:
      return load<double>(bytes);
    case DType::Bool:
      return load<std::uint8_t>(bytes) != 0;
    default:
      return std::nullopt;
  }
}

/// The tensor over the bytes of an array, or nothing when any part is not what a plain array of numbers has.
std::optional<TensorRef> make_tensor(Tree& tree, const Value& shape_value, const Value& dtype_value, bool fortran,
                                     const Value& bytes) {
  constexpr std::size_t kMaxArrayAxes = 64;
  const auto* axes = shape_value.as<Tuple>();
  const auto dtype = numpy_dtype(dtype_value);
  if (axes == nullptr || axes->items.size() > kMaxArrayAxes || !dtype || bytes.as<Bytes>() == nullptr)
    return std::nullopt;
  Shape shape;
  for (const Value* axis : axes->items) {
    const auto* size = axis->as<std::int64_t>();
    if (size == nullptr || *size < 0) return std::nullopt;
    shape.push_back(*size);
  }
  const std::int64_t count = element_count(shape);
  const std::size_t stored = bytes.as<Bytes>()->data.size();
  if (stored % size_of(*dtype) != 0 || static_cast<std::uint64_t>(count) != stored / size_of(*dtype)) {
    throw DataError("a NumPy array of shape {} has {} bytes", to_string(shape), stored);
  }
  Shape strides(shape.size(), 1);
  for (std::size_t i = 1; i < shape.size() && count > 0; ++i) {
    const std::size_t axis = fortran ? i : shape.size() - 1 - i;
    const std::size_t inner = fortran ? axis - 1 : axis + 1;
    strides[axis] = strides[inner] * shape[inner];
  }
  const std::size_t storage = tree.add_storage({"", "numpy.ndarray", *dtype, count, &bytes});
  return TensorRef{storage, *dtype, 0, std::move(shape), std::move(strides)};
}

}  // namespace

Value* make_numpy_scalar(Tree& tree, const Value& dtype, const Value& bytes) {
  const auto type = numpy_dtype(dtype);
  const auto* raw = bytes.as<Bytes>();
  const auto value = !type || raw == nullptr ? std::nullopt : number(*type, raw->data);
  return value ? tree.add(*value) : nullptr;
}

Value* make_numpy_from_buffer(Tree& tree, const Items& args) {
  const auto* order = args.size() < 4 ? nullptr : args[3]->as<std::string>();
  if (order == nullptr) return nullptr;
  auto tensor = make_tensor(tree, *args[2], *args[1], *order == "F", *args[0]);
  return tensor ? tree.add(std::move(*tensor)) : nullptr;
}

void complete_numpy_array(Tree& tree, Value& object) {
  const auto* opaque = object.as<Opaque>();
  if (opaque == nullptr || opaque->state == nullptr) return;
  const std::string name = opaque->type.full_name();
  if (name != "numpy.core.multiarray._reconstruct" && name != "numpy._core.multiarray._reconstruct") return;
  const auto* state = opaque->state->as<Tuple>();  // (version, shape, dtype, is_fortran, bytes)
  const auto* fortran = state == nullptr || state->items.size() < 5 ? nullptr : state->items[3]->as<bool>();
  if (fortran == nullptr) return;
  auto tensor = make_tensor(tree, *state->items[1], *state->items[2], *fortran, *state->items[4]);
  if (tensor) object.data = std::move(*tensor);
}

}  // namespace medgen::pickle
