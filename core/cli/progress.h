// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/run/observer.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace medgen::cli {

enum class ProgressStyle {
  Auto,   ///< a bar on a terminal, lines elsewhere
  Bar,    ///< one line that is drawn again and again
  Lines,  ///< a line every ten seconds
  Json,   ///< every event as one line of JSON (docs/cli.md)
  None,
};

/// One moment of a task, with what has been measured since it began.
struct ProgressView {
  std::string step, task, item, note;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  ///< 0 = unknown
  double rate = 0;          ///< per second, 0 = unknown
  std::optional<double> seconds_left;
};

/// "ct  sampling case_003  [#######.......]  12/30  1.4/s  0:13 left  loss 0.1", at most `width` columns.
std::string format_bar(const ProgressView& view, std::size_t width);
/// The same without the bar.
std::string format_line(const ProgressView& view);
/// "0:07", "12:30", "3:05:00"
std::string format_duration(double seconds);

/// Messages and progress on standard error. `log` from any thread, the rest from one.
class Reporter {
 public:
  /// @param level  the least important messages that are shown.
  Reporter(ProgressStyle style, LogLevel level);
  ~Reporter();
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  void log(LogLevel level, std::string_view text);
  void progress(const Progress& progress);
  /// Takes the bar off the screen.
  void clear();

  /// What a run wants; it must not outlive this object.
  RunObserver observer(CancelToken* cancel);

 private:
  using Clock = std::chrono::steady_clock;

  ProgressView measure(const Progress& progress);
  void show_line(const ProgressView& view);
  void show_bar(const ProgressView& view, bool last);
  void erase_bar();
  void emit(const std::string& text);

  ProgressStyle style_;
  LogLevel level_;
  std::mutex mutex_;
  bool bar_shown_ = false;
  std::string task_key_;
  std::set<std::string> steps_seen_;
  std::uint64_t task_first_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point task_start_ = start_;
  Clock::time_point last_shown_{};
};

}  // namespace medgen::cli
