// SPDX-License-Identifier: Apache-2.0
#include "core/inspect/failure.h"

#include <medgen/abi/host.h>

#include <new>

namespace medgen {

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::OutOfMemory, "not enough memory; a smaller batch, fewer threads or a smaller volume need less"};
  } catch (const std::exception& error) {
    return {ErrorKind::Runtime, error.what()};
  } catch (...) {
    return {ErrorKind::Runtime, "an exception of unknown type (please report it)"};
  }
}

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Runtime:
      return "runtime";
    case ErrorKind::Usage:
      return "usage";
    case ErrorKind::Config:
      return "config";
    case ErrorKind::Data:
      return "data";
    case ErrorKind::Plugin:
      return "plugin";
    case ErrorKind::OutOfMemory:
      return "out_of_memory";
    case ErrorKind::Device:
      return "device";
    case ErrorKind::Cancelled:
      return "cancelled";
  }
  return "runtime";
}

LogLevel log_level(int abi_level) {
  switch (abi_level) {
    case MEDGEN_LOG_ERROR:
      return LogLevel::Error;
    case MEDGEN_LOG_WARN:
      return LogLevel::Warning;
    case MEDGEN_LOG_INFO:
      return LogLevel::Info;
    default:
      return LogLevel::Debug;
  }
}

int abi_log_level(LogLevel level) {
  switch (level) {
    case LogLevel::Error:
      return MEDGEN_LOG_ERROR;
    case LogLevel::Warning:
      return MEDGEN_LOG_WARN;
    case LogLevel::Info:
      return MEDGEN_LOG_INFO;
    case LogLevel::Debug:
      return MEDGEN_LOG_DEBUG;
  }
  return MEDGEN_LOG_DEBUG;
}

}  // namespace medgen
