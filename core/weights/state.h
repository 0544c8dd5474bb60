// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"
#include "core/weights/mapped_file.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace medgen {

/// A value found beside the weights: an epoch, a scale factor, a note.
using StateScalar = std::variant<bool, std::int64_t, double, std::string>;

struct LoadOptions {
  /// Where the state dict is inside the file: "unet_state_dict", "model.ema"; "." is the file's top level.
  /// Absent: found by itself when there is exactly one, or exactly one whose key ends in "state_dict".
  std::optional<std::string> key;
  /// Removed from every name, besides "module." (DataParallel) and "_orig_mod." (torch.compile).
  std::string strip_prefix;
};

/// A state dict: the tensors under their published names, flat.
struct State {
  TensorMap tensors;
  std::map<std::string, StateScalar> scalars;  ///< numbers, text and one-element tensors beside the tensors
  std::vector<std::string> skipped;  ///< entries that are neither, "optimizer (dict of 2)": nothing is lost silently
  std::string key;                   ///< where it was found, "." for the top level
  std::string stripped_prefix;       ///< what was removed from every name
  std::string format;                ///< "safetensors", "torch zip" or "torch legacy"

  /// The scalar as a number. @throws DataError when it is text; nothing when it is absent.
  std::optional<double> number(const std::string& name) const;
};

/// Loads a state dict from a safetensors file or a torch checkpoint, told apart by content, not by name. Nothing in the
/// file is executed. Tensors are read-only views of the mapped file where possible.
/// @throws DataError when the file is damaged or hostile, holds no state dict, several to choose from (they are
/// listed), or a value that is no tensor where one is needed.
State load_state(const std::filesystem::path& path, const LoadOptions& options = {});
State load_state(const std::shared_ptr<const MappedFile>& file, const LoadOptions& options = {});

}  // namespace medgen
