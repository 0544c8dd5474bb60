// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace medgen {

/// Where the values of a document come from; shared by all its nodes. Used inside core/config only.
struct ConfigSource {
  /// A value that the command line gave: its JSON pointer, and PATH as in `--set PATH=VALUE`.
  struct Override {
    std::string pointer;
    std::string path;
  };

  std::string name;
  std::filesystem::path folder;
  std::string text;  ///< empty when no file holds the document
  std::vector<Override> overrides;
};

}  // namespace medgen
