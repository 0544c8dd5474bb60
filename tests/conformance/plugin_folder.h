// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/host.h"

#include <fmt/format.h>

#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace medgen::test {

/// A folder of its own that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "medgen-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }

  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct ListedComponent {
  std::string id;
  std::string kind;
};

/// Puts a copy of a library of bad_plugins/ and a manifest for it into `folder`. A copy is another file to the dynamic
/// linker, so every test maps its own.
inline std::filesystem::path install(const std::filesystem::path& folder, const std::string& library,
                                     const std::string& id, const std::vector<ListedComponent>& components,
                                     const std::string& more = "") {
  const std::string file = library + ".so";
  std::filesystem::copy_file(std::filesystem::path(MEDGEN_BAD_PLUGINS) / file, folder / file);
  std::string list;
  for (const ListedComponent& component : components) {
    list += fmt::format(R"({}{{"id":"{}","kind":"{}","config_schema":{{"type":"object","additionalProperties":false,)"
                        R"("properties":{{"defect":{{"type":"string"}}}}}}}})",
                        list.empty() ? "" : ",", component.id, component.kind);
  }
  const std::filesystem::path manifest = folder / fmt::format("{}{}", id, kManifestSuffix);
  std::ofstream(manifest) << fmt::format(
      R"({{"medgen_plugin":1,"id":"{}","version":"1.0.0","abi":{{"major":1,"minor":0}},)"
      R"("library":"{}","components":[{}]{}}})",
      id, file, list, more);
  return manifest;
}

}  // namespace medgen::test
