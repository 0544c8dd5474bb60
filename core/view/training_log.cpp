// SPDX-License-Identifier: Apache-2.0
#include "core/view/training_log.h"

#include "core/base/error.h"
#include "core/config/json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>

namespace medgen {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLog = "log.jsonl";

/// One line added; false when it is no record.
bool add_line(TrainingLog& log, const std::string& line) {
  const Json entry = Json::parse(line, nullptr, false);
  if (!entry.is_object() || !entry.contains("iteration") || !entry["iteration"].is_number_unsigned()) return false;
  const auto iteration = entry["iteration"].get<std::uint64_t>();
  const auto at = static_cast<double>(iteration);
  log.stopped.reset();
  if (entry.contains("stopped") && entry["stopped"].is_string()) log.stopped = entry["stopped"].get<std::string>();
  for (const auto& [name, value] : entry.items()) {
    if (name == "iteration" || name == "seconds" || name == "iterations" || !value.is_number()) continue;
    log.curves[name].emplace_back(at, value.get<double>());
  }
  if (entry.contains("iterations") && entry["iterations"].is_number_unsigned())
    log.iterations = entry["iterations"].get<std::uint64_t>();
  if (entry.contains("seconds") && entry["seconds"].is_number()) {
    const auto seconds = entry["seconds"].get<double>();
    if (log.iteration > 0 && iteration > log.iteration && seconds > log.seconds)
      log.curves["speed"].emplace_back(at, static_cast<double>(iteration - log.iteration) / (seconds - log.seconds));
    log.seconds = seconds;
  }
  log.iteration = iteration;
  return true;
}

}  // namespace

std::optional<double> TrainingLog::seconds_left() const {
  const auto speed = curves.find("speed");
  if (!iterations || iteration > *iterations || speed == curves.end()) return std::nullopt;
  const Curve& rates = speed->second;
  double sum = 0;
  for (std::size_t i = rates.size() / 2; i < rates.size(); ++i) sum += 1 / rates[i].second;
  const double seconds_each = sum / static_cast<double>(rates.size() - rates.size() / 2);
  return seconds_each * static_cast<double>(*iterations - iteration);
}

std::vector<fs::path> training_folders(const fs::path& folder) {
  std::vector<fs::path> folders;
  if (fs::exists(folder / kLog)) folders.push_back(folder);
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder / "training", none)) {
    if (fs::exists(entry.path() / kLog)) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

TrainingLog read_training_log(const fs::path& folder) {
  std::ifstream file(folder / kLog);
  if (!file) throw DataError("'{}' cannot be read", (folder / kLog).string());
  TrainingLog log;
  log.folder = folder;
  log.name = fs::absolute(folder / "").lexically_normal().parent_path().filename().string();
  for (std::string line; std::getline(file, line);) {
    if (!add_line(log, line)) ++log.torn;
  }
  return log;
}

}  // namespace medgen
