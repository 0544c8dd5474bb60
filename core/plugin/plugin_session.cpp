// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/plugin_session.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/plugin/descriptor.h"
#include "core/plugin/invoke.h"
#include "core/plugin/shared_runtime.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <map>

namespace medgen {

/// One mapped library of this process. Never freed, as it is never unmapped.
struct LoadedLibrary {
  const medgen_plugin_t* plugin = nullptr;
  std::string refusal;  ///< why it is no use though it is mapped
  std::recursive_mutex mutex;
  int sessions = 0;
  std::shared_ptr<PluginServices> init_services;  ///< what `init` got; lives until `shutdown`
};

namespace {

struct LibraryTable {
  std::mutex mutex;
  std::map<std::string, LoadedLibrary> libraries;  // by canonical path
};

LibraryTable& library_table() {
  static auto& table = *new LibraryTable;  // components may be destroyed after static objects are
  return table;
}

[[noreturn]] void refuse(const PluginInfo& info, std::string_view reason) {
  throw PluginError("plugin '{}' ({}) is refused: {}", info.id, info.library.string(), reason);
}

void check_file(const PluginInfo& info, HostServices& host) {
  struct stat status {};

  const char* path = info.library.c_str();
  if (::stat(path, &status) == 0 && (status.st_mode & S_IWOTH) != 0) {
    host.log(MEDGEN_LOG_WARN,
             fmt::format("plugin '{}': everybody on this machine may change {}; run `chmod o-w` on it", info.id, path));
  }
  if (info.sha256.empty()) return;
  if (const std::string actual = sha256_file(info.library); actual != info.sha256) {
    refuse(info, fmt::format("its SHA-256 is {}, the manifest says {}: install the plugin again", actual, info.sha256));
  }
}

/// Maps the library. @throws PluginError when nothing was mapped; what is wrong afterwards is the return value.
std::string map_library(const PluginInfo& info, LoadedLibrary& library) {
  const FloatingPointGuard guard;
  void* handle = ::dlopen(info.library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) {
    const char* reason = ::dlerror();
    refuse(info, fmt::format("it cannot be loaded: {}; install what it needs, or build it on this machine",
                             reason == nullptr ? "no reason given" : reason));
  }
  if (guard.changed()) {
    return "loading it changed the floating-point mode of the process (flush to zero or rounding): link it without "
           "-ffast-math and -Ofast";
  }
  void* entry = ::dlsym(handle, kEntryPoint);
  if (entry == nullptr) {
    return fmt::format("it has no symbol {}: it is no medgen plugin, or was linked without exporting it", kEntryPoint);
  }
  const auto query_plugin = reinterpret_cast<decltype(&medgen_plugin_v1)>(entry);
  medgen_query_t query{};
  query.struct_size = sizeof query;
  query.abi_major = MEDGEN_ABI_MAJOR;
  query.abi_minor = MEDGEN_ABI_MINOR;
  library.plugin = call_plugin(fmt::format("plugin '{}' ({}): {}", info.id, info.library.string(), kEntryPoint),
                               query_plugin, &query);
  return {};
}

void load_library(const PluginInfo& info, HostServices& host, LoadedLibrary& library) {
  if (!library.refusal.empty()) refuse(info, library.refusal);
  if (library.plugin != nullptr) return;
  check_file(info, host);
  load_shared_runtimes(info, read_elf(info.library));
  library.refusal = map_library(info, library);
  if (!library.refusal.empty()) refuse(info, library.refusal);
}

void initialise(const PluginInfo& info, LoadedLibrary& library, const std::shared_ptr<PluginServices>& services) {
  const FloatingPointGuard guard;
  library.init_services = services;
  try {
    check_plugin_call(fmt::format("plugin '{}' ({}): init", info.id, info.library.string()), library.plugin->init,
                      services->table());
  } catch (...) {
    library.init_services.reset();
    throw;
  }
}

}  // namespace

PluginSession::PluginSession(const PluginInfo& info, std::shared_ptr<HostServices> host)
    : services_(std::make_shared<PluginServices>(host, info.id)) {
  LibraryTable& table = library_table();
  const std::lock_guard lock(table.mutex);
  LoadedLibrary& library = table.libraries[info.library.string()];
  load_library(info, *host, library);
  check_descriptor(library.plugin, info);
  if (library.sessions == 0) initialise(info, library, services_);
  ++library.sessions;
  library_ = &library;
}

PluginSession::~PluginSession() {
  const std::lock_guard lock(library_table().mutex);
  if (--library_->sessions > 0) return;
  try {
    call_plugin(fmt::format("plugin '{}': shutdown", services_->plugin_id()), library_->plugin->shutdown);
  } catch (const std::exception& error) {
    services_->host().log(MEDGEN_LOG_ERROR, error.what());
  }
  library_->init_services.reset();
}

const medgen_plugin_t& PluginSession::plugin() const {
  return *library_->plugin;
}

std::recursive_mutex& PluginSession::mutex() const {
  return library_->mutex;
}

}  // namespace medgen
