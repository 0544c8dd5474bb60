// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/nn/scratch_file.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace medgen::support {

/// The folder for temporary files. @throws sdk::Error when there is none
std::filesystem::path disk_folder();

/// The file in which kept tensors lie one after the other.
struct KeptFile {
  /// @throws sdk::Error when the folder lies in memory itself
  explicit KeptFile(std::filesystem::path folder);

  nn::ScratchFile file;
  std::int64_t end = 0;
};

/// What belongs to a weight and is needed once in an optimiser step: a moment, an average. In memory, or in a file
/// while nobody works on it.
class KeptTensor {
 public:
  /// None.
  KeptTensor() = default;
  /// Zeros, like a weight. @param file  null: in memory. @throws c10::Error when it has no room
  KeptTensor(const at::Tensor& weight, std::shared_ptr<KeptFile> file);

  bool defined() const { return weight_.defined(); }

  /// The tensor itself, or what the file holds; undefined when there is none.
  at::Tensor get() const;
  /// What `get` gave, changed, or another tensor of this shape.
  void put(const at::Tensor& value);

 private:
  at::Tensor weight_, in_memory_;
  std::shared_ptr<KeptFile> file_;
  std::int64_t offset_ = 0;
};

}  // namespace medgen::support
