// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace medgen {

/// What went wrong, as the user sees it: also the exit code of the tools (docs/cli.md).
enum class ErrorKind : int {
  Runtime = 1,  ///< anything not listed below; a defect of medgen when it is InternalError
  Usage = 2,    ///< command line
  Config = 3,   ///< pipeline, manifest, component config
  Data = 4,     ///< volumes, labels, data sets, weight files
  Plugin = 5,   ///< a plugin failed or misbehaved
  OutOfMemory = 6,
  Device = 7,
  Cancelled = 130,
};

/// Base of all errors. The message says what, where, the value seen, and what to do; it fits on a screen.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string message) : std::runtime_error(std::move(message)), kind_(kind) {}

  ErrorKind kind() const noexcept { return kind_; }

  int exit_code() const noexcept { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

/// One class per kind, with a formatting constructor: `throw DataError("{}: {} axes, 3 expected", path, n);`
template <ErrorKind Kind>
class KindError : public Error {
 public:
  template <typename... Args>
  explicit KindError(fmt::format_string<Args...> format, Args&&... args)
      : Error(Kind, fmt::format(format, std::forward<Args>(args)...)) {}
};

using RuntimeError = KindError<ErrorKind::Runtime>;
using UsageError = KindError<ErrorKind::Usage>;
using ConfigError = KindError<ErrorKind::Config>;
using DataError = KindError<ErrorKind::Data>;
using PluginError = KindError<ErrorKind::Plugin>;
using OutOfMemoryError = KindError<ErrorKind::OutOfMemory>;
using DeviceError = KindError<ErrorKind::Device>;
using Cancelled = KindError<ErrorKind::Cancelled>;

/// A defect of medgen itself: never reachable from user input.
inline void check(bool condition, const char* what) {
  if (!condition) throw Error(ErrorKind::Runtime, fmt::format("internal error: {} (please report it)", what));
}

}  // namespace medgen
