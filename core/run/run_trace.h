// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/trace.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace medgen {

/// The trace that a run was asked for, put in its place when the run ends, however it ends.
class RunTrace {
 public:
  /// @param file  empty: none was asked for
  /// @param warn  told why the file is missing after a run that failed, whose own message is the one that counts
  /// @throws RuntimeError when the file cannot be written, before any work is done
  RunTrace(const std::filesystem::path& file, std::function<void(std::string_view)> warn);
  RunTrace(const RunTrace&) = delete;
  RunTrace& operator=(const RunTrace&) = delete;
  ~RunTrace();

  Trace* get() { return trace_ ? &*trace_ : nullptr; }

  /// The run succeeded. @throws RuntimeError when the file could not be written
  void finish();

 private:
  std::function<void(std::string_view)> warn_;
  std::optional<Trace> trace_;
  bool finished_ = false;
};

}  // namespace medgen
