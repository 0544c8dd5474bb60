// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/weights/byte_reader.h"
#include "core/weights/pickle_value.h"

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace medgen::pickle {

/// Reads Python pickles (protocols 0 to 5) as data. It is a machine of a stack and a memo, like Python's, but its only
/// values are those of pickle_value.h: nothing is imported, called or run. Depth and amount are limited.
/// Source: the opcode list of CPython's Lib/pickletools.py.
class Unpickler {
 public:
  /// The reader's bytes may hold several pickles one after the other.
  Unpickler(Tree& tree, ByteReader& reader) : tree_(tree), reader_(reader) {}

  /// The next pickle; afterwards the reader stands behind it.
  /// @throws DataError naming file and byte when it is malformed, too deep or too large, or names something that could
  /// only serve to run code (is_dangerous).
  Value* load();

 private:
  // Each handles its group of opcodes and returns false for all others.
  bool read_number(std::uint8_t opcode);
  bool read_text_number(std::uint8_t opcode);
  bool read_string(std::uint8_t opcode);
  bool use_stack(std::uint8_t opcode);
  bool use_memo(std::uint8_t opcode);
  bool make_container(std::uint8_t opcode);
  bool fill_container(std::uint8_t opcode);
  bool make_object(std::uint8_t opcode);
  bool make_old_object(std::uint8_t opcode);

  std::string_view line();
  void push(Data data);
  void push_long(std::span<const std::byte> bytes);
  void push_string(std::uint64_t bytes);
  void push_bytes(std::uint64_t bytes);
  void push_tuple(Items items);
  void push_global(std::string_view module, std::string_view name);
  void push_call(const Value& callable, Value& args);
  Value* top();
  Value* pop();
  Items pop_to_mark();
  Items pop_count(std::size_t count);
  void store(std::uint64_t index);
  void fetch(std::uint64_t index);
  void append(Value& target, const Items& items);
  void set_items(Value& target, const Items& items);
  /// Keeps the depth of `parent` up to date, and limited.
  void nest(Value& parent, const Value& child);
  /// Runs `make`, adding the place to its errors.
  template <typename Make>
  auto located(Make make);

  Tree& tree_;
  ByteReader& reader_;
  Items stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Value*> memo_;
};

}  // namespace medgen::pickle
