// SPDX-License-Identifier: Apache-2.0
#include "core/weights/pickle_value.h"

#include "core/base/error.h"

#include <algorithm>

namespace medgen::pickle {
namespace {

// A thousand tensors take some ten thousand steps; optimizer states and long histories ten times as many.
constexpr std::uint64_t kMaxWork = 4'000'000;

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

std::string shortened(const std::string& text) {
  constexpr std::size_t kMaxShown = 60;
  return text.size() <= kMaxShown ? text : text.substr(0, kMaxShown) + "...";
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  const auto matches = [key](const auto& item) {
    const auto* text = item.first->template as<std::string>();
    return text != nullptr && *text == key;
  };
  const auto found = std::find_if(items.rbegin(), items.rend(), matches);
  return found == items.rend() ? nullptr : found->second;
}

Value* Tree::add(Data data) {
  return &values_.emplace_back(Value{std::move(data)});
}

void Tree::charge(std::uint64_t work) {
  work_ += std::min(work, kMaxWork + 1);
  if (work_ > kMaxWork) throw DataError("the pickle has more than {} steps: refused", kMaxWork);
}

std::size_t Tree::add_storage(Storage storage) {
  if (storage.inside != nullptr) {
    storages_.push_back(std::move(storage));
    return storages_.size() - 1;
  }
  const auto [place, is_new] = storage_by_key_.try_emplace(storage.key, storages_.size());
  if (is_new) {
    storages_.push_back(std::move(storage));
    return place->second;
  }
  const Storage& first = storages_[place->second];
  if (first.type != storage.type || first.count != storage.count) {
    throw DataError("storage '{}' is declared twice, as {} elements of {} and {} elements of {}", first.key,
                    first.count, first.type, storage.count, storage.type);
  }
  return place->second;
}

std::string describe(const Value& value) {
  return std::visit(
      Overloaded{
          [](const None&) -> std::string { return "None"; },
          [](bool flag) -> std::string { return flag ? "True" : "False"; },
          [](std::int64_t number) { return fmt::format("int {}", number); },
          [](double number) { return fmt::format("float {}", number); },
          [](const std::string& text) { return fmt::format("string '{}'", shortened(text)); },
          [](const Bytes& bytes) { return fmt::format("{} bytes", bytes.data.size()); },
          [](const List& list) { return fmt::format("list of {}", list.items.size()); },
          [](const Tuple& tuple) { return fmt::format("tuple of {}", tuple.items.size()); },
          [](const Dict& dict) { return fmt::format("dict of {}", dict.items.size()); },
          [](const Global& global) { return fmt::format("class {}", shortened(global.full_name())); },
          [](const StorageRef&) -> std::string { return "storage"; },
          [](const TensorRef& tensor) { return fmt::format("tensor {}", to_string(tensor.shape)); },
          [](const Opaque& object) { return fmt::format("{} object", shortened(object.type.full_name())); },
      },
      value.data);
}

}  // namespace medgen::pickle
