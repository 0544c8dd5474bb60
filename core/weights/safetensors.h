// SPDX-License-Identifier: Apache-2.0
#pragma once

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

 private:
  TensorMap tensors_;
  Metadata metadata_;
};

/// Whether the bytes start like a safetensors file (nothing more is checked).
bool looks_like_safetensors(std::span<const std::byte> bytes);

/// Writes the tensors under their names, widest element types first so that each is aligned. The file appears under
/// `path` complete or not at all. @throws DataError for names that are no UTF-8, RuntimeError when the disk fails.
void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors, const Metadata& metadata = {});

}  // namespace medgen
