// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/weights/torch_file.h"
#include "core/weights/unpickler.h"

#include <map>

// The stream: five pickles (magic number, protocol version, system information, the object, the list of storage keys),
// then for each key, in the order of the list, the number of elements (64 bits) and the elements.
namespace medgen {
namespace {

constexpr std::string_view kMagic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10};  // 0x1950a86a20f9469cfc6c
constexpr std::string_view kMagicText = "119547037146038801333356";                 // in pickle protocol 1
constexpr std::int64_t kProtocol = 1001;

bool is_magic(const pickle::Value& value) {
  const auto* number = value.as<pickle::Opaque>();
  if (number == nullptr || number->args == nullptr) return false;
  const auto* bytes = number->args->as<pickle::Bytes>();
  const auto* text = number->args->as<std::string>();
  return (bytes != nullptr && bytes->data == kMagic) || (text != nullptr && *text == kMagicText);
}

void read_preamble(pickle::Unpickler& unpickler, const ByteReader& reader) {
  if (!is_magic(*unpickler.load())) reader.fail("a pickle, but not a checkpoint of torch.save (magic number missing)");
  const pickle::Value* version = unpickler.load();
  if (const auto* number = version->as<std::int64_t>(); number == nullptr || *number != kProtocol) {
    reader.fail("checkpoint protocol {} is not known, {} expected", pickle::describe(*version), kProtocol);
  }
  const auto* system = unpickler.load()->as<pickle::Dict>();
  const pickle::Value* order = system == nullptr ? nullptr : system->find("little_endian");
  if (order == nullptr || order->as<bool>() == nullptr) reader.fail("the system information is damaged");
  if (!*order->as<bool>()) reader.fail("a big-endian checkpoint: save it again on a little-endian machine");
}

using Blocks = std::map<std::string, std::span<const std::byte>>;

Blocks read_blocks(const pickle::Value& keys, const pickle::Tree& tree, ByteReader& reader) {
  std::map<std::string, const pickle::Storage*> declared;
  for (const pickle::Storage& storage : tree.storages()) {
    if (storage.inside == nullptr) declared.emplace(storage.key, &storage);
  }
  const auto* list = keys.as<pickle::List>();
  if (list == nullptr) reader.fail("a list of storage keys is expected, not {}", pickle::describe(keys));
  Blocks blocks;
  for (const pickle::Value* item : list->items) {
    const auto* key = item->as<std::string>();
    const auto found = key == nullptr ? declared.end() : declared.find(*key);
    if (found == declared.end()) reader.fail("storage {} belongs to no tensor", pickle::describe(*item));
    const pickle::Storage& storage = *found->second;
    // Without the element size the next storage cannot be found.
    if (!storage.dtype && !storage.untyped())
      reader.fail("storage '{}' is a {}, which is not supported", *key, storage.type);
    const auto count = reader.number<std::int64_t>();
    if (count != storage.count)
      reader.fail("storage '{}' has {} elements, but {} are declared", *key, count, storage.count);
    blocks[*key] = reader.take(storage_bytes(storage));
  }
  if (blocks.size() != declared.size()) reader.fail("{} storages of {} are stored", blocks.size(), declared.size());
  if (reader.left() != 0) reader.fail("{} bytes follow the last storage: the file is damaged", reader.left());
  return blocks;
}

}  // namespace

bool looks_like_pickle(std::span<const std::byte> bytes) {
  constexpr std::byte kProto{0x80};
  constexpr std::byte kNewest{5};
  const bool binary = bytes.size() > 2 && bytes[0] == kProto && bytes[1] <= kNewest;
  const bool text = bytes.size() > kMagicText.size() && bytes[0] == std::byte{'L'} && bytes[1] == std::byte{'1'};
  return binary || text;
}

TorchContents open_torch_legacy(std::shared_ptr<const MappedFile> file) {
  ByteReader reader(file->bytes(), file->path().string());
  TorchContents contents{std::make_unique<pickle::Tree>(), nullptr, {}, "torch legacy"};
  pickle::Unpickler unpickler(*contents.tree, reader);
  read_preamble(unpickler, reader);
  contents.root = unpickler.load();
  Blocks blocks = read_blocks(*unpickler.load(), *contents.tree, reader);
  contents.read_storage = [file, blocks = std::move(blocks)](const pickle::Storage& storage) {
    return Blob{blocks.at(storage.key), file};
  };
  return contents;
}

}  // namespace medgen
