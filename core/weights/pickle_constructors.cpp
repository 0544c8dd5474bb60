// SPDX-License-Identifier: Apache-2.0
#include "core/weights/pickle_constructors.h"

#include "core/base/error.h"
#include "core/weights/pickle_numpy.h"

#include <array>
#include <unordered_map>

namespace medgen::pickle {
namespace {

constexpr int kMaxRebuildDepth = 8;
constexpr std::size_t kMaxAxes = 64;  // torch's own limit

struct Call {
  Tree& tree;
  const Global& function;
  Value& args_value;
  const Items& args;
  int depth;

  /// @throws DataError "torch._utils._rebuild_tensor_v2: <message>".
  template <typename... Parts>
  [[noreturn]] void fail(fmt::format_string<Parts...> format, Parts&&... parts) const {
    throw DataError("{}: {}", function.full_name(), fmt::format(format, std::forward<Parts>(parts)...));
  }

  void expect_args(std::size_t least) const {
    if (args.size() < least) fail("{} arguments stored, at least {} needed", args.size(), least);
  }
};

Value* call(Tree& tree, const Value& callable, Value& args, int depth);

struct StorageType {
  std::string_view name;
  DType dtype;
};

constexpr std::array<StorageType, 10> kStorageTypes{{
    {"FloatStorage", DType::F32},
    {"HalfStorage", DType::F16},
    {"BFloat16Storage", DType::BF16},
    {"DoubleStorage", DType::F64},
    {"LongStorage", DType::I64},
    {"IntStorage", DType::I32},
    {"ShortStorage", DType::I16},
    {"CharStorage", DType::I8},
    {"ByteStorage", DType::U8},
    {"BoolStorage", DType::Bool},
}};

std::optional<DType> dtype_of_storage(std::string_view type) {
  for (const StorageType& row : kStorageTypes) {
    if (row.name == type) return row.dtype;
  }
  return std::nullopt;
}

/// "float32" of torch.float32: the names that can come with storages without type.
std::optional<DType> dtype_of_name(const Value& value) {
  static const std::unordered_map<std::string_view, DType> kNames{
      {"uint8", DType::U8},    {"int8", DType::I8},     {"uint16", DType::U16},    {"int16", DType::I16},
      {"uint32", DType::U32},  {"int32", DType::I32},   {"uint64", DType::U64},    {"int64", DType::I64},
      {"float16", DType::F16}, {"float32", DType::F32}, {"bfloat16", DType::BF16}, {"float64", DType::F64},
      {"bool", DType::Bool},
  };
  const auto* global = value.as<Global>();
  if (global == nullptr || global->module != "torch") return std::nullopt;
  const auto found = kNames.find(global->name);
  return found == kNames.end() ? std::nullopt : std::optional(found->second);
}

Value* opaque(const Call& call) {
  return call.tree.add(Opaque{call.function, &call.args_value, nullptr, {}});
}

std::int64_t integer(const Call& call, std::size_t index, std::string_view what) {
  const auto* number = call.args[index]->as<std::int64_t>();
  if (number == nullptr || *number < 0) call.fail("{} is {}", what, describe(*call.args[index]));
  return *number;
}

Shape sizes(const Call& call, std::size_t index, std::string_view what) {
  const auto* tuple = call.args[index]->as<Tuple>();
  if (tuple == nullptr || tuple->items.size() > kMaxAxes) call.fail("{} is {}", what, describe(*call.args[index]));
  Shape result;
  for (const Value* item : tuple->items) {
    const auto* number = item->as<std::int64_t>();
    if (number == nullptr || *number < 0) call.fail("{} holds {}", what, describe(*item));
    result.push_back(*number);
  }
  return result;
}

/// Every element lies inside the storage of `count` elements.
void check_inside(const Call& call, const TensorRef& tensor, std::int64_t count) {
  std::int64_t last = tensor.offset;
  bool overflow = false;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (tensor.shape[i] == 0) continue;
    overflow |= __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  const std::int64_t end = element_count(tensor.shape) == 0 ? tensor.offset : last;
  const bool inside = element_count(tensor.shape) == 0 ? end <= count : end < count;
  if (overflow || !inside) {
    call.fail("a tensor of shape {}, offset {} and strides {} does not fit its storage of {} elements",
              to_string(tensor.shape), tensor.offset, to_string(tensor.strides), count);
  }
}

/// Arguments: storage, offset, size, stride, ...; `dtype` overrides the storage's.
Value* tensor_view(const Call& call, std::optional<DType> dtype) {
  const auto* reference = call.args[0]->as<StorageRef>();
  if (reference == nullptr) call.fail("a storage is needed, not {}", describe(*call.args[0]));
  const Storage& storage = call.tree.storages()[reference->index];
  if (!dtype) return opaque(call);  // complex, quantised ...: an error only where a tensor is needed
  TensorRef tensor{reference->index, *dtype, integer(call, 1, "offset"), sizes(call, 2, "size"),
                   sizes(call, 3, "stride")};
  if (tensor.shape.size() != tensor.strides.size()) {
    call.fail("{} sizes and {} strides", tensor.shape.size(), tensor.strides.size());
  }
  const auto width = static_cast<std::int64_t>(size_of(*dtype));
  check_inside(call, tensor, storage.untyped() ? storage.count / width : storage.count);
  return call.tree.add(std::move(tensor));
}

Value* rebuild_tensor(const Call& call) {
  call.expect_args(4);
  const auto* reference = call.args[0]->as<StorageRef>();
  return tensor_view(call, reference == nullptr ? std::nullopt : call.tree.storages()[reference->index].dtype);
}

/// For storages without type: the dtype is an argument.
Value* rebuild_tensor_v3(const Call& call) {
  call.expect_args(7);
  const auto* reference = call.args[0]->as<StorageRef>();
  const std::optional<DType> dtype = dtype_of_name(*call.args[6]);
  if (reference != nullptr && dtype) {
    const Storage& storage = call.tree.storages()[reference->index];
    if (!storage.untyped() && storage.dtype != dtype) call.fail("a {} cannot be {}", storage.type, name_of(*dtype));
  }
  return tensor_view(call, dtype);
}

/// A parameter or buffer is the tensor it wraps.
Value* first_argument(const Call& call) {
  call.expect_args(1);
  return call.args[0];
}

/// Arguments: function, subclass, its arguments, state. A subclass of Tensor (MONAI's MetaTensor) is the plain tensor.
Value* rebuild_from_type(const Call& call_) {
  call_.expect_args(3);
  if (call_.args[2]->as<Tuple>() == nullptr) call_.fail("its arguments are {}", describe(*call_.args[2]));
  return call(call_.tree, *call_.args[0], *call_.args[2], call_.depth + 1);
}

/// A dict, empty or from a list of pairs (protocols 0 and 1). A first argument that is no list is defaultdict's
/// factory.
Value* make_dict(const Call& call) {
  Dict dict;
  const auto* list = call.args.empty() ? nullptr : call.args[0]->as<List>();
  for (const Value* item : list == nullptr ? Items{} : list->items) {
    const auto* pair_list = item->as<List>();
    const auto* pair_tuple = item->as<Tuple>();
    const Items* pair = pair_list != nullptr ? &pair_list->items : pair_tuple != nullptr ? &pair_tuple->items : nullptr;
    if (pair == nullptr || pair->size() != 2) call.fail("{} where a key and a value are needed", describe(*item));
    dict.items.emplace_back((*pair)[0], (*pair)[1]);
  }
  call.tree.charge(dict.items.size());
  return call.tree.add(std::move(dict));
}

Value* make_size(const Call& call) {
  call.expect_args(1);
  return call.args[0]->as<Tuple>() != nullptr ? call.args[0] : opaque(call);
}

/// _codecs.encode(text, 'latin1'): how protocols without bytes write bytes.
Value* encode_latin1(const Call& call) {
  const auto* text = call.args.empty() ? nullptr : call.args[0]->as<std::string>();
  if (text == nullptr) return opaque(call);
  call.tree.charge(text->size() / 64);
  Bytes bytes;
  for (std::size_t i = 0; i < text->size(); ++i) {
    const auto lead = static_cast<unsigned char>((*text)[i]);
    if (lead < 0x80) {
      bytes.data += static_cast<char>(lead);
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < text->size()) {
      bytes.data += static_cast<char>((lead & 3U) << 6 | (static_cast<unsigned char>((*text)[++i]) & 0x3fU));
    } else {
      call.fail("the text has a letter outside Latin-1");
    }
  }
  return call.tree.add(std::move(bytes));
}

Value* numpy_scalar(const Call& call) {
  Value* value = call.args.size() < 2 ? nullptr : make_numpy_scalar(call.tree, *call.args[0], *call.args[1]);
  return value != nullptr ? value : opaque(call);
}

Value* numpy_from_buffer(const Call& call) {
  Value* value = make_numpy_from_buffer(call.tree, call.args);
  return value != nullptr ? value : opaque(call);
}

/// An enum's member, inert.
Value* enum_member(const Call& call) {
  const bool of_class = call.args.size() == 2 && call.args[0]->as<Global>() != nullptr;
  const auto* name = of_class ? call.args[1]->as<std::string>() : nullptr;
  if (name == nullptr || name->starts_with("__") || name->find('.') != std::string::npos)
    refuse_as_attack(call.function);
  return opaque(call);
}

using Constructor = Value* (*)(const Call&);

Constructor find_constructor(const std::string& name) {
  static const std::unordered_map<std::string_view, Constructor> kConstructors{
      {"collections.OrderedDict", make_dict},
      {"collections.defaultdict", make_dict},
      {"torch._utils._rebuild_tensor", rebuild_tensor},
      {"torch._utils._rebuild_tensor_v2", rebuild_tensor},
      {"torch._utils._rebuild_tensor_v3", rebuild_tensor_v3},
      {"torch._utils._rebuild_parameter", first_argument},
      {"torch._utils._rebuild_parameter_with_state", first_argument},
      {"torch._tensor._rebuild_from_type", rebuild_from_type},
      {"torch._tensor._rebuild_from_type_v2", rebuild_from_type},
      {"torch.Size", make_size},
      {"_codecs.encode", encode_latin1},
      {"builtins.getattr", enum_member},
      {"__builtin__.getattr", enum_member},
      {"numpy.core.multiarray.scalar", numpy_scalar},
      {"numpy._core.multiarray.scalar", numpy_scalar},
      {"numpy.core.numeric._frombuffer", numpy_from_buffer},
      {"numpy._core.numeric._frombuffer", numpy_from_buffer},
  };
  const auto found = kConstructors.find(name);
  return found == kConstructors.end() ? nullptr : found->second;
}

Value* call(Tree& tree, const Value& callable, Value& args, int depth) {
  if (depth > kMaxRebuildDepth) throw DataError("a tensor is wrapped more than {} times", kMaxRebuildDepth);
  static const Global kUnnamed{"", "result of a call"};
  const auto* function = callable.as<Global>();
  const auto* tuple = args.as<Tuple>();
  const auto* made = callable.as<Opaque>();
  if (made != nullptr && is_attribute_getter(made->type)) refuse_as_attack(made->type);
  if (function == nullptr || tuple == nullptr) return tree.add(Opaque{kUnnamed, &args, nullptr, {}});
  const Call call{tree, *function, args, tuple->items, depth};
  const Constructor constructor = find_constructor(function->full_name());
  return constructor == nullptr ? opaque(call) : constructor(call);
}

}  // namespace

Value* construct(Tree& tree, const Value& callable, Value& args) {
  return call(tree, callable, args, 0);
}

Value* persistent(Tree& tree, const Value& id) {
  const auto* tuple = id.as<Tuple>();
  const auto* kind = tuple == nullptr || tuple->items.empty() ? nullptr : tuple->items[0]->as<std::string>();
  if (kind != nullptr && *kind == "module" && tuple->items.size() >= 2) return tuple->items[1];
  if (kind == nullptr || *kind != "storage" || tuple->items.size() < 5) {
    throw DataError("a persistent id that torch does not write ({})", describe(id));
  }
  const auto* type = tuple->items[1]->as<Global>();
  const auto* key = tuple->items[2]->as<std::string>();
  const auto* count = tuple->items[4]->as<std::int64_t>();
  if (type == nullptr || key == nullptr || count == nullptr || *count < 0) {
    throw DataError("a storage is described by {}, {}, {} instead of class, key and size", describe(*tuple->items[1]),
                    describe(*tuple->items[2]), describe(*tuple->items[4]));
  }
  if (tuple->items.size() > 5 && tuple->items[5]->as<None>() == nullptr) {
    throw DataError(
        "storage '{}' is a view of another one, as torch before 0.4 wrote them: save it again with a newer torch",
        *key);
  }
  return tree.add(StorageRef{tree.add_storage({*key, type->name, dtype_of_storage(type->name), *count, nullptr})});
}

void set_state(Tree& tree, Value& object, const Value& state) {
  auto* target = std::get_if<Opaque>(&object.data);
  if (target == nullptr) return;  // attributes of a dict or tensor (state_dict()._metadata) mean nothing here
  target->state = &state;
  complete_numpy_array(tree, object);
}

}  // namespace medgen::pickle
