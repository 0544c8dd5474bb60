// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace medgen::cli {

/// The whole command-line tool. `program` is "medgen" or "medgen-run" (which takes the arguments of `medgen run`).
/// Writes data to standard output and everything else to standard error. Never throws.
/// @return the exit code (docs/cli.md).
int main(const std::string& program, std::vector<std::string> arguments);

}  // namespace medgen::cli
