// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/json.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// A sample as a run recorded it.
struct SampleRecord {
  std::string name;
  std::filesystem::path image;                 ///< empty when it has none
  std::optional<std::filesystem::path> label;  ///< of the same grid
};

/// What a folder says of the run that wrote it.
struct RunRecord {
  std::shared_ptr<const Json> manifest;  ///< run.json; null for a run that has not ended yet
  std::vector<SampleRecord> samples;
  std::vector<std::string> problems;  ///< records that make no sense
};

/// From run.json or, while the run goes on, its journal; nothing when there is neither.
/// @throws DataError when run.json is no JSON object.
std::optional<RunRecord> read_run_record(const std::filesystem::path& folder);

/// What files hold that may have been edited, or cut off: no object when it is no JSON; values that are nested a
/// hundred levels deep are left out, since writing them would take the stack.
Json parse_record(const std::string& text);

/// A member of an object within objects as text, "" when it is not there: {"run", "started"}. Numbers and the like are
/// written as JSON.
std::string text_at(const Json& object, const std::vector<std::string>& keys);

}  // namespace medgen
