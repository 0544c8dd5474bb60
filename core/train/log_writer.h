// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/events/event_writer.h"
#include "core/run/observer.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

namespace medgen {

/// Numbers of a training by name, "loss".
using Scalars = std::map<std::string, double>;

/// What a training tells whoever looks later: log.jsonl and TensorBoard's events. Neither stops the training.
class LogWriter {
 public:
  /// What an earlier run told of iterations after `iteration` is forgotten: they are done, and told, again.
  /// @throws RuntimeError when the folder cannot be written.
  LogWriter(const std::filesystem::path& folder, std::string step, std::uint64_t iteration,
            const RunObserver& observer);

  /// One line. @param iterations  that there will be.
  void tell(std::uint64_t iteration, std::uint64_t iterations, double seconds, const Scalars& values);

  /// Why there are no more lines, though there are iterations left. Forgotten when the training goes on.
  void stopped(std::uint64_t iteration, const std::string& reason);

  /// A picture for TensorBoard. @param png  a whole file.
  void show(std::uint64_t iteration, const std::string& tag, const std::string& png);

 private:
  void write(const std::string& line);
  template <typename Tell>
  void to_events(const Tell& tell);

  std::string step_;
  const RunObserver& observer_;
  std::ofstream lines_;
  std::optional<EventWriter> events_;  ///< until the first error
};

}  // namespace medgen
