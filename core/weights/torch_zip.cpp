// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"
#include "core/weights/torch_file.h"
#include "core/weights/unpickler.h"
#include "core/weights/zip_archive.h"

#include <algorithm>

namespace medgen {
namespace {

/// "archive/" of "archive/data.pkl": all records lie in one folder, named after the file that was saved.
std::string find_root(const ZipArchive& archive, const std::string& path) {
  constexpr std::string_view kPickle = "data.pkl";
  std::string root;
  std::size_t found = 0;
  for (const ZipEntry& entry : archive.entries()) {
    const bool is_pickle = entry.name == kPickle || entry.name.ends_with("/data.pkl");
    if (!is_pickle || std::ranges::count(entry.name, '/') > 1) continue;
    root = entry.name.substr(0, entry.name.size() - kPickle.size());
    ++found;
  }
  if (found != 1) {
    throw DataError("{}: a zip archive with {} entries '<name>/data.pkl'; a torch checkpoint has exactly one", path,
                    found);
  }
  if (archive.find(root + "constants.pkl") != nullptr) {
    throw DataError(
        "{}: a TorchScript program (torch.jit.save), not a checkpoint: save model.state_dict() with torch.save", path);
  }
  return root;
}

void check_byte_order(const ZipArchive& archive, const std::string& root, const std::string& path) {
  const ZipEntry* entry = archive.find(root + "byteorder");
  if (entry == nullptr) return;  // torch before 2.1: always little
  const Blob blob = archive.read(*entry);
  const std::string_view order(reinterpret_cast<const char*>(blob.bytes.data()), blob.bytes.size());
  if (order != "little") {
    throw DataError("{}: entry '{}' says '{}': save the checkpoint again on a little-endian machine", path, entry->name,
                    order.substr(0, 20));
  }
}

/// Every storage the pickle names is there in full, before any of them is read.
void check_storages(const ZipArchive& archive, const pickle::Tree& tree, const std::string& root,
                    const std::string& path) {
  for (const pickle::Storage& storage : tree.storages()) {
    // Sizes of types unknown here are not known either; such storages are never read.
    if (storage.inside != nullptr || (!storage.dtype && !storage.untyped())) continue;
    const ZipEntry* entry = archive.find(root + "data/" + storage.key);
    if (entry == nullptr) throw DataError("{}: entry '{}data/{}' is missing", path, root, storage.key);
    if (entry->bytes != storage_bytes(storage)) {
      throw DataError("{}: entry '{}' has {} bytes, but the pickle says {} elements of {}", path, entry->name,
                      entry->bytes, storage.count, storage.type);
    }
  }
}

}  // namespace

bool looks_like_zip(std::span<const std::byte> bytes) {
  return bytes.size() > 4 && bytes[0] == std::byte{'P'} && bytes[1] == std::byte{'K'};
}

TorchContents open_torch_zip(std::shared_ptr<const MappedFile> file) {
  const std::string path = file->path().string();
  const auto archive = std::make_shared<const ZipArchive>(std::move(file));
  const std::string root = find_root(*archive, path);
  check_byte_order(*archive, root, path);
  const Blob blob = archive->read(*archive->find(root + "data.pkl"));
  ByteReader reader(blob.bytes, fmt::format("{}: entry '{}data.pkl'", path, root));
  TorchContents contents{std::make_unique<pickle::Tree>(), nullptr, {}, "torch zip"};
  contents.root = pickle::Unpickler(*contents.tree, reader).load();
  check_storages(*archive, *contents.tree, root, path);
  contents.read_storage = [archive, root](const pickle::Storage& storage) {
    const ZipEntry* entry = archive->find(root + "data/" + storage.key);
    check(entry != nullptr, "storages are checked when a file is opened");
    return archive->read(*entry);
  };
  return contents;
}

}  // namespace medgen
