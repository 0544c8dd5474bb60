// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/file.h"
#include "core/tensor/tensor.h"
#include "core/weights/mapped_file.h"

#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace medgen {

/// Free text stored beside the tensors, the `__metadata__` of the format.
using Metadata = std::map<std::string, std::string>;

/// A `.safetensors` file, mapped: opening reads the header only, and the tensors are read-only views that keep the
/// mapping alive after this object is gone. Thread: any, nothing changes after construction. Source: the format
/// description of huggingface/safetensors (header of at most 100 MB, tensors without gaps or overlaps).
class SafetensorsFile {
 public:
  /// @throws DataError when anything in the header is wrong; it names the file and the tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);
  explicit SafetensorsFile(std::shared_ptr<const MappedFile> file);

  const TensorMap& tensors() const noexcept { return tensors_; }

  const Metadata& metadata() const noexcept { return metadata_; }

  /// MappedFile::drop_pages
  void drop_pages() const noexcept { file_->drop_pages(); }

 private:
  std::shared_ptr<const MappedFile> file_;
  TensorMap tensors_;
  Metadata metadata_;
};

/// Whether the bytes start like a safetensors file (nothing more is checked).
bool looks_like_safetensors(std::span<const std::byte> bytes);

/// What a file says of a tensor before its data.
struct TensorKind {
  DType dtype = DType::F32;
  Shape shape;
};

/// A file that is written tensor by tensor, in any order, widest element types first so that each is aligned. It
/// appears under `path` complete or not at all. One thread at a time. @throws RuntimeError when the disk fails
class SafetensorsWriter {
 public:
  /// @param tensors  all that will come. @throws DataError for names that are no UTF-8
  SafetensorsWriter(const std::filesystem::path& path, const std::map<std::string, TensorKind>& tensors,
                    const Metadata& metadata = {});

  /// Each of the tensors once. @throws RuntimeError for one that was not announced so
  void write(const std::string& name, const Tensor& tensor);
  /// @throws RuntimeError while there are tensors that have not come
  void commit();

 private:
  struct Place {
    TensorKind kind;
    std::uint64_t begin;
  };

  std::map<std::string, Place> places_;  ///< of what is still to come
  AtomicFile file_;
};

/// Writes the tensors under their names, as SafetensorsWriter does.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata = {});

}  // namespace medgen
