// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace medgen {

/// What a shared library says about itself, read from its file without loading it.
struct ElfFile {
  std::vector<std::string> needed;    ///< DT_NEEDED, in order: "libc10.so"
  std::vector<std::string> run_path;  ///< folders of DT_RUNPATH or DT_RPATH, $ORIGIN replaced
  std::vector<std::string> exported;  ///< defined dynamic symbols that other libraries can see
  bool executable_stack = false;
};

/// @throws PluginError when the file is no shared library for this machine (64-bit little-endian ELF), or is damaged.
ElfFile read_elf(const std::filesystem::path& path);

}  // namespace medgen
