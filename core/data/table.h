// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace medgen {

/// A line of a table, and its number in the file (from 1).
struct TableLine {
  std::size_t number = 0;
  std::vector<std::string> cells;  ///< at least one; without blanks and quotes round them

  /// As it is shown in messages.
  std::string text() const;
};

/// The lines of a text file that are not empty, cut at commas or tabs. Quotes do not protect commas.
/// @throws DataError when it cannot be read, or is no table by its size (64 MiB).
std::vector<TableLine> read_table(const std::filesystem::path& path);

}  // namespace medgen
