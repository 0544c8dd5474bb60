// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/registry.h"
#include "core/weights/state.h"

#include <filesystem>
#include <optional>
#include <string>

namespace medgen {

/// Which low-rank adapter belongs to which model.
struct AdapterImportOptions {
  std::filesystem::path base;  ///< folder of the model package that it is for
  std::string role;            ///< the part of it that changes: "denoiser"
  std::filesystem::path file;  ///< as peft or medgen wrote it
  LoadOptions load;
  std::optional<double> alpha;  ///< where neither the file nor peft's adapter_config.json beside it tells
  std::string name, license, credit;
  std::filesystem::path to;
};

/// Matches every tensor of the file against the model's weights, and writes a package as a training with "lora" does.
/// Nothing is written unless everything fits. peft's names are understood ("base_model.model.<layer>.lora_A.weight")
/// and ours ("<layer>.lora_A"), and of peft's variants those that are W + factor B A with one rank and one alpha.
/// @return a report: layers, rank, alpha and where it is from.
/// @throws DataError for tensors that do not fit or are no adapter's, ConfigError for a model without such a part, a
/// variant that is not understood, and where alpha is told by nobody or twice.
std::string import_adapter(const Registry& registry, const AdapterImportOptions& options);

}  // namespace medgen
