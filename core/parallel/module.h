// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>
#include <string>

namespace medgen {

/// Loads a module of this build that lies beside it, for the life of the process; null when it cannot be loaded.
/// @throws RuntimeError when it belongs to another build.
void* open_module(const std::string& name);

/// A function that a module exports.
template <typename Function>
Function* symbol(void* library, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(library, name));
}

}  // namespace medgen
