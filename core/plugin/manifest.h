// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// What a manifest says about one component. The JSON texts are objects.
struct ComponentInfo {
  std::string id;    ///< "maisi.unet"
  std::string kind;  ///< "medgen.denoiser/1"
  std::string summary;
  std::string config_schema;
  std::string io;             ///< {"functions": {"predict": {"in": {...}, "out": {...}}}}
  std::string train_options;  ///< schema of its training's options; empty when it cannot be trained

  /// False for a kind this medgen does not know: listed, but cannot be created.
  bool usable() const;
};

/// "denoiser", of "medgen.denoiser/1".
std::string_view noun_of(std::string_view kind);

/// What a manifest says about its plugin.
struct PluginInfo {
  std::string id;
  std::string version;
  std::string vendor;
  std::string license;
  std::string summary;
  std::filesystem::path manifest;  ///< absolute
  std::filesystem::path library;   ///< absolute, inside the manifest's folder, exists
  std::string sha256;              ///< of the library, lower case; empty in manifests written by hand
  std::vector<ComponentInfo> components;
  std::string methods_json = "{}";
  std::string runtime_json = "{}";
  int abi_major = 1;
  int abi_minor = 0;
};

/// Reads and checks one manifest: keys (unknown ones are an error), ids, ABI major, and that the library is a file in
/// the manifest's folder. The library itself is not opened.
/// @throws ConfigError saying what is wrong, where, and what to do.
PluginInfo read_manifest(const std::filesystem::path& path);

/// Ending of every manifest's file name.
inline constexpr std::string_view kManifestSuffix = ".medgen-plugin.json";

}  // namespace medgen
