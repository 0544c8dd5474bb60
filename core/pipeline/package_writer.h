// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"
#include "core/pipeline/model.h"
#include "core/weights/adapter.h"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <map>
#include <string>

namespace medgen {

/// What a package says of itself that its base did not; empty: as the base.
struct PackageNames {
  std::string name, license;
  std::string credit;  ///< of the data that were learnt from, beside the base's

  /// From the keys of a step.
  static PackageNames read(const ConfigNode& step);
  void apply(Json& description) const;
};

/// Writes a model package: model.json, and for each component with weights one .safetensors file. Weights that are
/// given replace the package's own; the others are copied. Files appear complete or not at all, model.json last.
/// @param event       name under which `provenance` is recorded, beside those of earlier events.
/// @throws RuntimeError when the folder cannot be written.
void write_model_package(const ModelPackage& package, const std::filesystem::path& folder,
                         const std::map<std::string, TensorMap>& weights, double latent_scale, const std::string& event,
                         const Json& provenance, const PackageNames& names = {});

/// Writes a folder with an adapter (kAdapterFile) and adapter.json, which says what it is, of which model and how it
/// came to be. @throws RuntimeError when it cannot be written
void write_adapter_package(const ModelPackage& base, const std::filesystem::path& folder, const Adapter& adapter,
                           const Json& provenance, const PackageNames& names = {});

}  // namespace medgen
