// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/file.h"

#include <chrono>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

namespace medgen {

/// What took how long, thread by thread: a file of Chrome's trace events, which Perfetto and chrome://tracing show.
/// Thread: any.
class Trace {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static Time now() { return std::chrono::steady_clock::now(); }

  /// Times count from now. @throws RuntimeError when the file cannot be written.
  explicit Trace(std::filesystem::path file);

  /// @param category  "component", "layer", "loop", "file"; a literal
  void add(std::string_view name, const char* category, Time begin, Time end);

  /// Puts the file in its place, with what was added so far; once. @throws RuntimeError when it could not be written,
  /// now or before
  void finish();

 private:
  void flush();

  AtomicFile file_;
  Time start_ = now();
  std::mutex mutex_;
  std::string text_;  // not yet in the file
  std::exception_ptr failure_;
};

/// Begins and ends a range in profilers (NVTX, domain "medgen") where medgen was built with CUDA. Properly nested. @{
void begin_profiler_range(std::string_view name) noexcept;
void end_profiler_range() noexcept;

/// @}

/// The time from its making to its end, in the trace, where there is one, and in profilers.
class TraceRange {
 public:
  TraceRange(Trace* trace, std::string_view name, const char* category)
      : trace_(trace), name_(trace == nullptr ? std::string() : std::string(name)), category_(category) {
    begin_profiler_range(name);
    if (trace_ != nullptr) begin_ = Trace::now();
  }

  TraceRange(const TraceRange&) = delete;
  TraceRange& operator=(const TraceRange&) = delete;

  ~TraceRange() {
    if (trace_ != nullptr) trace_->add(name_, category_, begin_, Trace::now());
    end_profiler_range();
  }

 private:
  Trace* trace_;
  std::string name_;
  const char* category_;
  Trace::Time begin_;
};

}  // namespace medgen
