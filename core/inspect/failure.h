// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"
#include "core/run/observer.h"

#include <string>
#include <string_view>

namespace medgen {

/// An exception as the outside world is told of it: exit codes of the tools, status codes of the C API.
struct Failure {
  ErrorKind kind = ErrorKind::Runtime;
  std::string message;
};

/// The exception being handled; call it in a catch block. std::bad_alloc is OutOfMemory, whatever else is not ours is
/// Runtime.
Failure current_failure();

/// "config", "out_of_memory" ...
std::string_view name_of(ErrorKind kind);

/// From MEDGEN_LOG_*, where numbers that are not known are the least important.
LogLevel log_level(int abi_level);
int abi_log_level(LogLevel level);

}  // namespace medgen
