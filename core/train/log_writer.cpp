// SPDX-License-Identifier: Apache-2.0
#include "core/train/log_writer.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/config/json.h"

#include <nlohmann/json.hpp>

namespace medgen {
namespace {

constexpr const char* kStopped = "stopped";

/// What the log says of iterations up to this one is kept; a torn line is not, nor why an earlier run stopped.
void forget_after(const std::filesystem::path& file, std::uint64_t iteration) {
  std::ifstream log(file);
  std::string kept;
  bool forgotten = false;
  for (std::string line; std::getline(log, line);) {
    const Json entry = Json::parse(line, nullptr, false);
    const bool past = entry.is_object() && entry.value("iteration", Json()).is_number_unsigned() &&
                      entry["iteration"].get<std::uint64_t>() <= iteration && !entry.contains(kStopped);
    if (past) kept += line + '\n';
    forgotten = forgotten || !past;
  }
  if (forgotten) write_file(file, kept);
}

}  // namespace

LogWriter::LogWriter(const std::filesystem::path& folder, std::string step, std::uint64_t iteration,
                     const RunObserver& observer)
    : step_(std::move(step)), observer_(observer) {
  forget_after(folder / "log.jsonl", iteration);
  lines_.open(folder / "log.jsonl", std::ios::app);
  events_.emplace(folder / "events", iteration + 1);
}

void LogWriter::tell(std::uint64_t iteration, std::uint64_t iterations, double seconds, const Scalars& values) {
  Json line = values;
  line["iteration"] = iteration;
  line["iterations"] = iterations;
  line["seconds"] = seconds;
  write(dump_compact(line));
  to_events([&] { events_->scalars(iteration, values); });
}

void LogWriter::stopped(std::uint64_t iteration, const std::string& reason) {
  write(dump_compact(Json{{"iteration", iteration}, {kStopped, reason}}));
}

void LogWriter::write(const std::string& line) {
  if (!lines_.is_open() || (lines_ << line << std::endl)) return;
  observer_.say(LogLevel::Warning, fmt::format("steps.{}: log.jsonl cannot be written any more", step_));
  lines_.close();
}

void LogWriter::show(std::uint64_t iteration, const std::string& tag, const std::string& png) {
  to_events([&] { events_->image(iteration, tag, png); });
}

/// The training is worth more than its curves.
template <typename Tell>
void LogWriter::to_events(const Tell& tell) {
  if (!events_) return;
  try {
    tell();
  } catch (const Error& error) {
    observer_.say(LogLevel::Warning, fmt::format("steps.{}: no more events: {}", step_, error.what()));
    events_.reset();
  }
}

}  // namespace medgen
