// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/shared_runtime.h"

#include "core/base/error.h"
#include "core/config/parse.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <system_error>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace medgen {
namespace {

namespace fs = std::filesystem;

bool belongs_to(std::string_view runtime, std::string_view library) {
  if (runtime == "libtorch") return library.starts_with("libc10") || library.starts_with("libtorch");
  return library.starts_with(runtime);
}

std::string locate(const std::string& library, const ElfFile& elf) {
  std::error_code error;
  for (const std::string& folder : elf.run_path) {
    if (const fs::path path = fs::path(folder) / library; fs::exists(path, error)) return path.string();
  }
  return library;
}

/// One version of a runtime per process: the dynamic linker hands out the first one to everybody.
void check_version(const PluginInfo& info, const std::string& runtime, const std::string& version) {
  static std::map<std::string, std::pair<std::string, std::string>>
      loaded;  // runtime -> version, plugin that brought it
  const auto& [present, plugin] = loaded.try_emplace(runtime, version, info.id).first->second;
  if (present != version) {
    throw PluginError(
        "plugin '{}' ({}) needs {} {}, but plugin '{}' has already brought {} into this process: use builds for the "
        "same "
        "version",
        info.id, info.library.string(), runtime, version, plugin, present);
  }
}

#if defined(__x86_64__)
constexpr unsigned kControlBits = 0xFFC0;  // MXCSR without the sticky exception flags

unsigned control_word() {
  return _mm_getcsr();
}

void set_control_word(unsigned word) {
  _mm_setcsr(word);
}
#else
constexpr unsigned kControlBits = 0xFFFFFFFF;

unsigned control_word() {
  unsigned long word = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(word));
  return static_cast<unsigned>(word);
}

void set_control_word(unsigned word) {
  __asm__ volatile("msr fpcr, %0" : : "r"(static_cast<unsigned long>(word)));
}
#endif

}  // namespace

FloatingPointGuard::FloatingPointGuard() : saved_(control_word()) {}

FloatingPointGuard::~FloatingPointGuard() {
  if (changed()) set_control_word(saved_);
}

bool FloatingPointGuard::changed() const {
  return ((control_word() ^ saved_) & kControlBits) != 0;
}

void load_shared_runtimes(const PluginInfo& info, const ElfFile& elf) {
  const FloatingPointGuard guard;
  const ConfigNode runtimes = parse_config(info.runtime_json, info.manifest.string());
  for (const auto& [runtime, version] : runtimes.members()) {
    check_version(info, runtime, version.as<std::string>());
    for (const std::string& library : elf.needed) {
      if (!belongs_to(runtime, library)) continue;
      if (::dlopen(locate(library, elf).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) != nullptr) continue;
      const char* reason = ::dlerror();
      throw PluginError(
          "plugin '{}' ({}) needs {} {}, whose {} cannot be loaded: {}; install it, or add its folder to "
          "LD_LIBRARY_PATH",
          info.id, info.library.string(), runtime, version.as<std::string>(), library,
          reason == nullptr ? "no reason given" : reason);
    }
  }
}

}  // namespace medgen
