// SPDX-License-Identifier: Apache-2.0
#include "core/weights/unpickler.h"

#include "core/weights/pickle_constructors.h"
#include "core/weights/pickle_opcodes.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace medgen::pickle {
namespace {

constexpr int kMaxDepth = 200;
constexpr int kNewestProtocol = 5;

}  // namespace

template <typename Make>
auto Unpickler::located(Make make) {
  try {
    return make();
  } catch (const DataError& error) {
    reader_.fail("{}", error.what());
  }
}

Value* Unpickler::load() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  while (true) {
    const auto opcode = reader_.number<std::uint8_t>();
    located([&] { tree_.charge(1); });
    if (opcode == STOP) return pop();
    const bool known = read_number(opcode) || read_string(opcode) || use_memo(opcode) || make_container(opcode) ||
                       fill_container(opcode) || make_object(opcode) || make_old_object(opcode) || use_stack(opcode) ||
                       read_text_number(opcode);
    if (!known) reader_.fail("pickle opcode 0x{:02x} is unknown or not used by torch: the file is damaged", opcode);
  }
}

bool Unpickler::read_number(std::uint8_t opcode) {
  switch (opcode) {
    case NONE:
      push(None{});
      return true;
    case NEWTRUE:
      push(true);
      return true;
    case NEWFALSE:
      push(false);
      return true;
    case BININT:
      push(std::int64_t{reader_.number<std::int32_t>()});
      return true;
    case BININT1:
      push(std::int64_t{reader_.number<std::uint8_t>()});
      return true;
    case BININT2:
      push(std::int64_t{reader_.number<std::uint16_t>()});
      return true;
    case BINFLOAT:  // the one big-endian number of the format
      push(std::bit_cast<double>(__builtin_bswap64(reader_.number<std::uint64_t>())));
      return true;
    case LONG1:
      push_long(reader_.take(reader_.number<std::uint8_t>()));
      return true;
    case LONG4:
      push_long(reader_.take(reader_.number<std::uint32_t>()));
      return true;
    default:
      return false;
  }
}

bool Unpickler::read_text_number(std::uint8_t opcode) {
  if (opcode != INT && opcode != LONG && opcode != FLOAT) return false;
  std::string_view text = line();
  if (opcode == INT && (text == "00" || text == "01")) {
    push(text == "01");
    return true;
  }
  if (opcode == LONG && text.ends_with('L')) text.remove_suffix(1);
  const auto parse = [&](auto number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc::result_out_of_range) {
      push(Opaque{{"builtins", "int"}, tree_.add(std::string(text)), nullptr, {}});
    } else if (error != std::errc{} || end != text.data() + text.size()) {
      reader_.fail("'{}' is no number", text.substr(0, 40));
    } else {
      push(number);
    }
  };
  opcode == FLOAT ? parse(double{}) : parse(std::int64_t{});
  return true;
}

bool Unpickler::read_string(std::uint8_t opcode) {
  switch (opcode) {
    case SHORT_BINSTRING:
    case SHORT_BINUNICODE:
      push_string(reader_.number<std::uint8_t>());
      return true;
    case BINSTRING:
    case BINUNICODE:
      push_string(reader_.number<std::uint32_t>());
      return true;
    case BINUNICODE8:
      push_string(reader_.number<std::uint64_t>());
      return true;
    case SHORT_BINBYTES:
      push_bytes(reader_.number<std::uint8_t>());
      return true;
    case BINBYTES:
      push_bytes(reader_.number<std::uint32_t>());
      return true;
    case BINBYTES8:
    case BYTEARRAY8:
      push_bytes(reader_.number<std::uint64_t>());
      return true;
    case STRING:
    case UNICODE: {
      std::string_view text = line();
      if (text.find('\\') != std::string_view::npos)
        reader_.fail("a protocol-0 string with escapes, which torch never writes");
      if (opcode == STRING) {
        if (text.size() < 2 || text.front() != text.back()) reader_.fail("a string without quotes");
        text = text.substr(1, text.size() - 2);
      }
      push(std::string(text));
      return true;
    }
    default:
      return false;
  }
}

bool Unpickler::use_stack(std::uint8_t opcode) {
  switch (opcode) {
    case MARK:
      marks_.push_back(stack_.size());
      return true;
    case DUP:
      stack_.push_back(top());
      return true;
    case POP_MARK:
      pop_to_mark();
      return true;
    case POP:
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();
      } else {
        pop();
      }
      return true;
    case PROTO:
      if (const auto version = reader_.number<std::uint8_t>(); version > kNewestProtocol) {
        reader_.fail("pickle protocol {} is not known (up to {})", version, kNewestProtocol);
      }
      return true;
    case FRAME:
      if (reader_.number<std::uint64_t>() > reader_.left()) reader_.fail("the pickle is cut off");
      return true;
    default:
      return false;
  }
}

bool Unpickler::use_memo(std::uint8_t opcode) {
  const auto text_index = [this] {
    const std::string_view text = line();
    std::uint64_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc{} || end != text.data() + text.size()) reader_.fail("a memo index is no number");
    return index;
  };
  switch (opcode) {
    case BINPUT:
      store(reader_.number<std::uint8_t>());
      return true;
    case LONG_BINPUT:
      store(reader_.number<std::uint32_t>());
      return true;
    case PUT:
      store(text_index());
      return true;
    case MEMOIZE:
      store(memo_.size());
      return true;
    case BINGET:
      fetch(reader_.number<std::uint8_t>());
      return true;
    case LONG_BINGET:
      fetch(reader_.number<std::uint32_t>());
      return true;
    case GET:
      fetch(text_index());
      return true;
    default:
      return false;
  }
}

bool Unpickler::make_container(std::uint8_t opcode) {
  switch (opcode) {
    case EMPTY_DICT:
      push(Dict{});
      return true;
    case EMPTY_LIST:
      push(List{});
      return true;
    case EMPTY_SET:
      push(Opaque{{"builtins", "set"}, nullptr, nullptr, {}});
      return true;
    case EMPTY_TUPLE:
      push(Tuple{});
      return true;
    case TUPLE:
      push_tuple(pop_to_mark());
      return true;
    case TUPLE1:
      push_tuple(pop_count(1));
      return true;
    case TUPLE2:
      push_tuple(pop_count(2));
      return true;
    case TUPLE3:
      push_tuple(pop_count(3));
      return true;
    case LIST: {
      const Items items = pop_to_mark();
      push(List{});
      append(*top(), items);
      return true;
    }
    case DICT: {
      const Items items = pop_to_mark();
      push(Dict{});
      set_items(*top(), items);
      return true;
    }
    case FROZENSET: {
      const Items items = pop_to_mark();
      push(Opaque{{"builtins", "frozenset"}, nullptr, nullptr, {}});
      append(*top(), items);
      return true;
    }
    default:
      return false;
  }
}

bool Unpickler::fill_container(std::uint8_t opcode) {
  Items items;
  switch (opcode) {
    case APPEND:
      items = pop_count(1);
      break;
    case SETITEM:
      items = pop_count(2);
      break;
    case APPENDS:
    case ADDITEMS:
    case SETITEMS:
      items = pop_to_mark();
      break;
    default:
      return false;
  }
  if (opcode == SETITEM || opcode == SETITEMS) {
    set_items(*top(), items);
  } else {
    append(*top(), items);
  }
  return true;
}

bool Unpickler::make_object(std::uint8_t opcode) {
  switch (opcode) {
    case GLOBAL: {
      const std::string_view module = line();
      push_global(module, line());
      return true;
    }
    case STACK_GLOBAL: {
      const Items names = pop_count(2);
      const auto* module = names[0]->as<std::string>();
      const auto* name = names[1]->as<std::string>();
      if (module == nullptr || name == nullptr) reader_.fail("a class is named by {}", describe(*names[1]));
      push_global(*module, *name);
      return true;
    }
    case REDUCE:
    case NEWOBJ: {
      const Items items = pop_count(2);
      push_call(*items[0], *items[1]);
      return true;
    }
    case NEWOBJ_EX: {
      const Items items = pop_count(3);
      push_call(*items[0], *items[1]);
      return true;
    }
    case BUILD: {
      const Value* state = pop();
      nest(*top(), *state);
      located([&] { set_state(tree_, *top(), *state); });
      return true;
    }
    case BINPERSID: {
      const Value* id = pop();
      stack_.push_back(located([&] { return persistent(tree_, *id); }));
      return true;
    }
    default:
      return false;
  }
}

/// Objects of the oldest protocols, whose arguments stand after a mark.
bool Unpickler::make_old_object(std::uint8_t opcode) {
  switch (opcode) {
    case INST: {
      const std::string_view module = line();
      push_global(module, line());
      const Value* type = pop();
      push_tuple(pop_to_mark());
      push_call(*type, *pop());
      return true;
    }
    case OBJ: {
      Items items = pop_to_mark();
      if (items.empty()) reader_.fail("an object without class");
      const Value* type = items.front();
      items.erase(items.begin());
      push_tuple(std::move(items));
      push_call(*type, *pop());
      return true;
    }
    default:
      return false;
  }
}

std::string_view Unpickler::line() {
  constexpr std::size_t kLongest = 4096;
  ByteReader ahead = reader_;
  const std::string_view window = ahead.text(std::min(kLongest, reader_.left()));
  const std::size_t end = window.find('\n');
  if (end == std::string_view::npos) reader_.fail("a line of text does not end");
  reader_.take(end + 1);
  return window.substr(0, end);
}

void Unpickler::push(Data data) {
  stack_.push_back(tree_.add(std::move(data)));
}

/// Two's complement, little-endian. Numbers beyond 64 bits mean nothing to a checkpoint and are kept as bytes.
void Unpickler::push_long(std::span<const std::byte> bytes) {
  if (bytes.size() > sizeof(std::int64_t)) {
    const std::string raw(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    push(Opaque{{"builtins", "int"}, tree_.add(Bytes{raw}), nullptr, {}});
    return;
  }
  const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
  std::int64_t number = negative ? -1 : 0;
  std::memcpy(&number, bytes.data(), bytes.size());
  push(number);
}

void Unpickler::push_string(std::uint64_t bytes) {
  push(std::string(reader_.text(bytes)));
}

void Unpickler::push_bytes(std::uint64_t bytes) {
  push(Bytes{std::string(reader_.text(bytes))});
}

void Unpickler::push_tuple(Items items) {
  push(Tuple{});
  for (const Value* item : items) nest(*top(), *item);
  std::get<Tuple>(top()->data).items = std::move(items);
}

void Unpickler::push_global(std::string_view module, std::string_view name) {
  Global global{std::string(module), std::string(name)};
  if (is_dangerous(global)) located([&] { refuse_as_attack(global); });
  push(std::move(global));
}

void Unpickler::push_call(const Value& callable, Value& args) {
  Value* result = located([&] { return construct(tree_, callable, args); });
  if (result->as<Opaque>() != nullptr) nest(*result, args);
  stack_.push_back(result);
}

Value* Unpickler::top() {
  const std::size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= floor) reader_.fail("the pickle takes more values than it made: the file is damaged");
  return stack_.back();
}

Value* Unpickler::pop() {
  Value* value = top();
  stack_.pop_back();
  return value;
}

Items Unpickler::pop_to_mark() {
  if (marks_.empty()) reader_.fail("the pickle has no mark where one is needed: the file is damaged");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  Items items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

Items Unpickler::pop_count(std::size_t count) {
  Items items(count);
  for (std::size_t i = count; i-- > 0;) items[i] = pop();
  return items;
}

void Unpickler::store(std::uint64_t index) {
  memo_[index] = top();
}

void Unpickler::fetch(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) reader_.fail("memo entry {} is used before it is made: the file is damaged", index);
  stack_.push_back(found->second);
}

void Unpickler::append(Value& target, const Items& items) {
  for (Value* item : items) {
    nest(target, *item);
    if (auto* list = std::get_if<List>(&target.data)) {
      list->items.push_back(item);
    } else if (auto* object = std::get_if<Opaque>(&target.data)) {
      object->items.emplace_back(nullptr, item);
    } else {
      reader_.fail("a {} cannot be appended to", describe(target));
    }
  }
}

void Unpickler::set_items(Value& target, const Items& items) {
  if (items.size() % 2 != 0) reader_.fail("a key without value");
  for (std::size_t i = 0; i < items.size(); i += 2) {
    nest(target, *items[i + 1]);
    if (auto* dict = std::get_if<Dict>(&target.data)) {
      dict->items.emplace_back(items[i], items[i + 1]);
    } else if (auto* object = std::get_if<Opaque>(&target.data)) {
      object->items.emplace_back(items[i], items[i + 1]);
    } else {
      reader_.fail("{} has no items to set", describe(target));
    }
  }
}

void Unpickler::nest(Value& parent, const Value& child) {
  parent.depth = std::max(parent.depth, child.depth + 1);
  if (parent.depth > kMaxDepth) reader_.fail("values are nested more than {} deep: refused", kMaxDepth);
}

}  // namespace medgen::pickle
