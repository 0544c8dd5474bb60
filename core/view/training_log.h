// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/view/chart.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// What log.jsonl of a training says.
struct TrainingLog {
  std::string name;  ///< of the step, that is of the folder
  std::filesystem::path folder;
  std::map<std::string, Curve> curves;  ///< every number by its name; "speed" is iterations a second
  std::uint64_t iteration = 0;
  double seconds = 0;
  std::optional<std::uint64_t> iterations;  ///< where the log says how many there will be
  std::optional<std::string> stopped;       ///< why, where it ended before that
  std::size_t torn = 0;                     ///< lines that are no record

  bool complete() const { return iterations && iteration >= *iterations; }

  /// From the speed since the middle of the log.
  std::optional<double> seconds_left() const;
};

/// Folders in and below `folder` that hold a log.jsonl: the folder itself, training/STEP.
std::vector<std::filesystem::path> training_folders(const std::filesystem::path& folder);

/// A line that is torn or no record is counted and passed over. Any length of log.
/// @throws DataError when it cannot be opened.
TrainingLog read_training_log(const std::filesystem::path& folder);

}  // namespace medgen
