// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/model.h"
#include "core/plugin/host.h"
#include "core/run/observer.h"
#include "core/weights/state.h"

#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace medgen {

/// Which published checkpoints become which model.
struct ImportOptions {
  std::string method;  ///< "maisi.rflow-ct": the components and configs the files must fit
  std::map<std::string, std::filesystem::path> files;  ///< role ("compressor", "denoiser", "controlnet") to checkpoint
  std::map<std::string, std::string> configs;   ///< role to constructor arguments, JSON objects laid over the method's
  std::map<std::string, std::string> keys;      ///< role to the state dict's key in its file, when not found by itself
  std::map<std::string, std::string> prefixes;  ///< role to a prefix that all keys lose
  std::optional<double> latent_scale;           ///< in place of the scale_factor that the denoiser's file records
  std::string name, license, credit;
  std::filesystem::path to;

  /// How the role's file is read.
  LoadOptions load_options(const std::string& role) const;
};

/// The method's description with the options' constructor arguments laid over its configs.
/// @param place  where mistakes are told to be. @throws ConfigError for an unknown method or role, or a wrong config
ModelPackage package_to_import(const ImportOptions& options, const Registry& registry, const ConfigNode& place);

/// Whether the folder holds no package yet; false when the one there was made by the same import of the same files.
/// @throws DataError when it holds another one, or a file cannot be read
bool check_free(const ImportOptions& options);

/// Reads the checkpoints without executing anything, matches every key against the component's own list, and writes a
/// model package: model.json and one .safetensors for each. Nothing is written unless everything fits, or where the
/// package is there already.
/// @return a report: files, keys, what was ignored and why.
/// @throws DataError with the missing, unexpected and misshapen keys; ConfigError for an unknown method or role.
std::string import_model(Host& host, const ImportOptions& options, const RunObserver& observer);

}  // namespace medgen
