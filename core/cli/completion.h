// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace medgen::cli {

/// What could stand where the cursor is, one candidate a line; a last line ":files" or ":folders" asks the shell for
/// those too.
/// @param words  what was typed after the program's name; the last one is being typed and may be empty.
std::string complete(const CLI::App& app, const std::vector<std::string>& words);

/// The script that a shell sources so that it asks `medgen __complete`. `shell` is "bash", "zsh" or "fish".
std::string completion_script(const std::string& shell);

}  // namespace medgen::cli
