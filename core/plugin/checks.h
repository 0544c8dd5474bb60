// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace medgen {

enum class CheckStatus { Pass, Fail, Skip };

struct CheckResult {
  std::string name;  ///< "maisi.unet: created from its defaults"
  CheckStatus status = CheckStatus::Pass;
  std::string detail;  ///< why it failed or was skipped; empty when it passed
};

/// The conformance checks of docs/plugin-guide.md on one plugin, in this process: manifest, symbols, loading,
/// descriptor, schemas, life cycle, bad input, and what each kind promises. A plugin that crashes takes the process
/// with it, so tools run this in a child. `report` is told each result as it comes. Never throws.
std::vector<CheckResult> check_plugin(const std::filesystem::path& manifest,
                                      const std::function<void(const CheckResult&)>& report = {});

}  // namespace medgen
