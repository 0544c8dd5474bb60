// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// What a pickle holds, as inert data. Nothing here can run anything: a class that is not known is only its name and
/// the values that would have been handed to it.
namespace medgen::pickle {

struct Value;
using Items = std::vector<Value*>;
using Pairs = std::vector<std::pair<Value*, Value*>>;

struct None {};

struct Bytes {
  std::string data;
};

struct List {
  Items items;
};

struct Tuple {
  Items items;
};

/// In the order of the file; keys of any kind.
struct Dict {
  Pairs items;

  /// The value under a string key, the last one if it was set twice; nullptr when absent.
  const Value* find(std::string_view key) const;
};

/// The name of a class or function, for example {"torch", "float32"}.
struct Global {
  std::string module;
  std::string name;

  std::string full_name() const { return module.empty() ? name : module + "." + name; }
};

/// Index into Tree::storages.
struct StorageRef {
  std::size_t index = 0;
};

/// A view of a storage, in elements; checked against the storage's declared size.
struct TensorRef {
  std::size_t storage = 0;
  DType dtype = DType::F32;
  std::int64_t offset = 0;
  Shape shape;
  Shape strides;
};

/// An object of a class without meaning to medgen.
struct Opaque {
  Global type;
  const Value* args = nullptr;   ///< what its constructor would have been called with
  const Value* state = nullptr;  ///< what would have become its attributes
  Pairs items;                   ///< what it would have been filled with; the key is nullptr for list-like objects
};

using Data = std::variant<None, bool, std::int64_t, double, std::string, Bytes, List, Tuple, Dict, Global, StorageRef,
                          TensorRef, Opaque>;

struct Value {
  Data data;
  int depth = 0;  ///< of the nesting below

  template <typename T>
  const T* as() const noexcept {
    return std::get_if<T>(&data);
  }
};

/// A block of numbers that lies outside the pickle, in the container's record `key`.
struct Storage {
  std::string key;
  std::string type;               ///< torch's name, "FloatStorage"
  std::optional<DType> dtype;     ///< absent for bytes without type, and for types medgen cannot hold
  std::int64_t count = 0;         ///< elements; bytes for UntypedStorage
  const Value* inside = nullptr;  ///< the Bytes that hold it, for arrays stored in the pickle itself

  bool untyped() const { return type == "UntypedStorage"; }
};

/// Owns the values. References between them may be shared or cyclic, as in Python.
class Tree {
 public:
  Value* add(Data data);
  /// Counts steps of work, one per opcode and one per value copied, so that no file can fill the memory.
  /// @throws DataError beyond what any checkpoint needs.
  void charge(std::uint64_t work);
  /// The same key twice is the same storage; storages inside the pickle have no key. @throws DataError when its type or
  /// size differ.
  std::size_t add_storage(Storage storage);

  const std::vector<Storage>& storages() const noexcept { return storages_; }

 private:
  std::deque<Value> values_;
  std::vector<Storage> storages_;
  std::map<std::string, std::size_t> storage_by_key_;
  std::uint64_t work_ = 0;
};

/// "dict of 3", "float 0.5", "argparse.Namespace object": for messages.
std::string describe(const Value& value);

}  // namespace medgen::pickle
