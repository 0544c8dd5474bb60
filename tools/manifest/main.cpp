// SPDX-License-Identifier: Apache-2.0
// medgen_manifest PLUGIN.so MANIFEST.json: loads a plugin and writes its manifest, so that the two cannot disagree.
#include "core/base/file.h"
#include "tools/manifest/manifest.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <stdexcept>

namespace {

constexpr std::string_view kPrefix = "medgen-";

/// "x" of ".../medgen-x.so"; discovery relies on the name.
std::string id_in_name(const std::filesystem::path& library) {
  const std::string stem = library.stem().string();
  if (!stem.starts_with(kPrefix)) throw std::runtime_error("a plugin's file is called medgen-<id>.so");
  return stem.substr(kPrefix.size());
}

nlohmann::ordered_json manifest_of(const std::filesystem::path& library) {
  const std::string expected = id_in_name(library);
  const nlohmann::ordered_json described = medgen::manifest::describe(medgen::manifest::load(library));
  const std::string id = described["id"];
  if (id != expected) {
    throw std::runtime_error("the plugin calls itself '" + id + "', but its file is that of '" + expected + "'");
  }
  nlohmann::ordered_json manifest;
  for (const auto& [key, value] : described.items()) {
    manifest[key] = value;
    if (key == "abi") {
      manifest["library"] = library.filename().string();
      manifest["sha256"] = medgen::sha256_file(library);
    }
  }
  return manifest;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: medgen_manifest medgen-<id>.so <id>.medgen-plugin.json\n"
                 "Loads the plugin and writes its manifest.\n";
    return 2;
  }
  try {
    medgen::write_file(argv[2], manifest_of(argv[1]).dump(2) + "\n");
  } catch (const std::exception& error) {
    std::cerr << "medgen_manifest: " << argv[1] << ": " << error.what() << '\n';
    return 5;
  }
  return 0;
}
