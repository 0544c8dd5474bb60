// SPDX-License-Identifier: Apache-2.0
#include "core/cli/progress.h"

#include "core/cli/console.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <unistd.h>
#include <algorithm>
#include <cmath>

namespace medgen::cli {
namespace {

constexpr std::chrono::milliseconds kBarInterval{100};
constexpr std::chrono::seconds kLineInterval{10};
constexpr std::size_t kMaxBar = 40;
constexpr std::size_t kMinBar = 10;

std::string_view name_of(LogLevel level) {
  switch (level) {
    case LogLevel::Error:
      return "error";
    case LogLevel::Warning:
      return "warning";
    case LogLevel::Info:
      return "info";
    case LogLevel::Debug:
      return "debug";
  }
  return "info";
}

std::string joined(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : "  ") + part;
  }
  return text;
}

std::string what(const ProgressView& view) {
  return view.item.empty() ? view.task : view.task.empty() ? view.item : view.task + ' ' + view.item;
}

std::string count(const ProgressView& view) {
  return view.total > 0 ? fmt::format("{}/{}", view.done, view.total) : fmt::format("{}", view.done);
}

std::string rate(const ProgressView& view) {
  if (view.rate <= 0) return "";
  return view.rate >= 1 ? fmt::format("{:.1f}/s", view.rate) : fmt::format("{:.1f} s each", 1 / view.rate);
}

std::string left(const ProgressView& view) {
  return view.seconds_left ? format_duration(*view.seconds_left) + " left" : "";
}

std::string drawn_bar(double fraction, std::size_t width) {
  const auto filled =
      static_cast<std::size_t>(std::lround(std::clamp(fraction, 0.0, 1.0) * static_cast<double>(width)));
  return '[' + std::string(filled, '#') + std::string(width - filled, '.') + ']';
}

/// The first `width` columns of a text, cut at a character.
std::string cut(std::string text, std::size_t width) {
  while (display_width(text) > width) {
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0u) == 0x80u) text.pop_back();
    if (!text.empty()) text.pop_back();
  }
  return text;
}

std::string json_line(Json event) {
  return event.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::max(0.0, std::min(seconds, 1e9)));
  const auto hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, rest) : fmt::format("{}:{:02}", minutes, rest);
}

std::string format_line(const ProgressView& view) {
  return joined({view.step, what(view), count(view), rate(view), left(view), view.note});
}

std::string format_bar(const ProgressView& view, std::size_t width) {
  const std::string plain = format_line(view);
  const std::size_t used = display_width(plain) + 4;  // two brackets, two spaces
  if (view.total == 0 || used + kMinBar > width) return cut(plain, width);
  const double fraction = static_cast<double>(view.done) / static_cast<double>(view.total);
  const std::string bar = drawn_bar(fraction, std::min(kMaxBar, width - used));
  return joined({view.step, what(view), bar, count(view), rate(view), left(view), view.note});
}

Reporter::Reporter(ProgressStyle style, LogLevel level) : style_(style), level_(level) {
  if (style_ == ProgressStyle::Auto) style_ = stderr_is_terminal() ? ProgressStyle::Bar : ProgressStyle::Lines;
}

Reporter::~Reporter() {
  clear();
}

void Reporter::log(LogLevel level, std::string_view text) {
  if (level > level_) return;
  const std::lock_guard lock(mutex_);
  if (style_ == ProgressStyle::Json) {
    emit(json_line({{"event", "log"}, {"level", name_of(level)}, {"text", text}}));
    return;
  }
  erase_bar();
  const std::string_view label = level == LogLevel::Info ? "" : name_of(level);
  emit(fmt::format("medgen: {}{}{}\n", label, label.empty() ? "" : ": ", printable(text)));
}

void Reporter::progress(const Progress& progress) {
  const std::lock_guard lock(mutex_);
  if (style_ == ProgressStyle::None) return;
  const ProgressView view = measure(progress);
  const bool last = view.total > 0 && view.done >= view.total;
  switch (style_) {
    case ProgressStyle::Json:
      emit(json_line({{"event", "progress"},
                      {"step", view.step},
                      {"task", view.task},
                      {"item", view.item},
                      {"done", view.done},
                      {"total", view.total},
                      {"note", view.note},
                      {"seconds", std::chrono::duration<double>(Clock::now() - start_).count()}}));
      break;
    case ProgressStyle::Bar:
      show_bar(view, last);
      break;
    default:
      show_line(view);
      break;
  }
}

void Reporter::clear() {
  const std::lock_guard lock(mutex_);
  erase_bar();
}

RunObserver Reporter::observer(CancelToken* cancel) {
  RunObserver observer;
  observer.progress = [this](const Progress& p) { progress(p); };
  observer.log = [this](LogLevel level, std::string_view text) { log(level, text); };
  observer.cancel = cancel;
  return observer;
}

ProgressView Reporter::measure(const Progress& progress) {
  const auto now = Clock::now();
  std::string key = fmt::format("{}\n{}\n{}", progress.step, progress.task, progress.item);
  if (key != task_key_ || progress.done < task_first_) {
    task_key_ = std::move(key);
    task_first_ = progress.done;
    task_start_ = now;
  }
  ProgressView view{printable(progress.step),
                    printable(progress.task),
                    printable(progress.item),
                    printable(progress.note),
                    progress.done,
                    progress.total,
                    0,
                    {}};
  const double seconds = std::chrono::duration<double>(now - task_start_).count();
  if (progress.done > task_first_ && seconds > 0) {
    view.rate = static_cast<double>(progress.done - task_first_) / seconds;
    if (progress.total > progress.done)
      view.seconds_left = static_cast<double>(progress.total - progress.done) / view.rate;
  }
  return view;
}

void Reporter::show_line(const ProgressView& view) {
  const auto now = Clock::now();
  const bool first = steps_seen_.insert(view.step).second;
  if (!first && now - last_shown_ < kLineInterval) return;
  last_shown_ = now;
  emit("medgen: " + format_line(view) + '\n');
}

void Reporter::show_bar(const ProgressView& view, bool last) {
  const auto now = Clock::now();
  if (!last && bar_shown_ && now - last_shown_ < kBarInterval) return;
  last_shown_ = now;
  bar_shown_ = true;
  // One column is left free: terminals disagree on what a full line does. ESC [K erases what an earlier, longer text
  // left.
  emit('\r' + format_bar(view, stderr_width() - 1) + "\x1b[K");
}

void Reporter::erase_bar() {
  if (bar_shown_) emit("\r\x1b[K");
  bar_shown_ = false;
}

void Reporter::emit(const std::string& text) {
  // A reader of standard error that has gone away is no reason to lose a run.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace medgen::cli
