// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/weights/mapped_file.h"
#include "core/weights/pickle_value.h"
#include "core/weights/tensor_view.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// What a container holds: the unpickled object, and how to get at the bytes of its storages.
struct TorchContents {
  std::unique_ptr<pickle::Tree> tree;
  const pickle::Value* root = nullptr;
  std::function<Blob(const pickle::Storage&)> read_storage;
  std::string format;  ///< "torch zip" or "torch legacy"
};

/// The zip format of torch 1.6 and later. Storages that are stored are mapped, compressed ones are inflated when read.
TorchContents open_torch_zip(std::shared_ptr<const MappedFile> file);
/// The pickle stream of torch before 1.6 (`_use_new_zipfile_serialization=False`).
TorchContents open_torch_legacy(std::shared_ptr<const MappedFile> file);

bool looks_like_zip(std::span<const std::byte> bytes);
bool looks_like_pickle(std::span<const std::byte> bytes);

/// Bytes of the storage in a container. @throws DataError when they cannot be addressed.
std::uint64_t storage_bytes(const pickle::Storage& storage);

/// A checkpoint written by torch.save, read as data: nothing in it is run. Opening reads the structure; the numbers are
/// read (and their checksums verified) tensor by tensor. One thread at a time.
class TorchFile {
 public:
  /// @throws DataError when the file is damaged, hostile, or no torch checkpoint.
  explicit TorchFile(std::shared_ptr<const MappedFile> file);

  const pickle::Value& root() const noexcept { return *contents_.root; }

  const std::string& format() const noexcept { return contents_.format; }

  /// A view of the file where layout and alignment allow it, else a copy. Tensors that shared a storage still do.
  /// @throws DataError; `name` is used in its message.
  Tensor tensor(const pickle::TensorRef& reference, std::string_view name);

 private:
  const Blob& storage(std::size_t index);
  void charge_copy(const pickle::TensorRef& reference, std::string_view what);

  std::string path_;
  TorchContents contents_;
  std::vector<Blob> storages_;  // those already read
  std::uint64_t copies_left_;   // bytes that strided tensors may still take
};

}  // namespace medgen
