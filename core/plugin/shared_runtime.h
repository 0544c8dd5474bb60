// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/elf_file.h"
#include "core/plugin/manifest.h"

namespace medgen {

/// Loads the shared runtimes a plugin names in its manifest ("runtime": {"libtorch": "2.15.0"}) before the plugin
/// itself, with RTLD_LOCAL | RTLD_NODELETE. A runtime that comes in as a dependency of the first plugin resolves its
/// weak symbols in that plugin, so that plugin's code would run inside everybody's runtime. The libraries are those
/// among the plugin's DT_NEEDED that belong to the runtime, looked for in its DT_RUNPATH and then where the system
/// looks.
/// @throws PluginError when one is missing or does not load, or when another version is already in this process: there
/// can be one of each.
void load_shared_runtimes(const PluginInfo& info, const ElfFile& elf);

/// Restores the floating-point control bits (flush to zero, rounding) when it is destroyed: a library that was linked
/// with -ffast-math sets them for the thread that loads it.
class FloatingPointGuard {
 public:
  FloatingPointGuard();
  ~FloatingPointGuard();
  FloatingPointGuard(const FloatingPointGuard&) = delete;
  FloatingPointGuard& operator=(const FloatingPointGuard&) = delete;

  bool changed() const;

 private:
  unsigned saved_;
};

}  // namespace medgen
