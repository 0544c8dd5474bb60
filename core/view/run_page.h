// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/run/observer.h"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace medgen {

struct RunPage {
  std::string html;  ///< complete: needs no other file, no network, no script
  std::size_t samples = 0;
  std::size_t curves = 0;
  std::vector<std::string> problems;  ///< what could not be shown, and why; also on the page
};

/// A page about a folder that a run or a training writes or has written: run.json (or the journal of an unfinished
/// run) with its samples, and log.jsonl of each training in it. Files are taken as they are at this moment.
/// @param most_samples  how many are drawn.
/// @throws DataError when the folder holds neither, Cancelled.
RunPage make_run_page(const std::filesystem::path& folder, std::size_t most_samples, const RunObserver& observer);

}  // namespace medgen
