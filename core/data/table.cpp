// SPDX-License-Identifier: Apache-2.0
#include "core/data/table.h"

#include "core/base/file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace medgen {
namespace {

constexpr std::uint64_t kLargestTable = 64 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // of spreadsheets

std::string trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\r\"";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    const std::size_t end = line.find_first_of(",\t");
    cells.push_back(trimmed(line.substr(0, end)));
    if (end == std::string_view::npos) return cells;
    line.remove_prefix(end + 1);
  }
}

}  // namespace

std::string TableLine::text() const {
  return fmt::format("{}", fmt::join(cells, ","));
}

std::vector<TableLine> read_table(const std::filesystem::path& path) {
  const std::string text = read_file(path, kLargestTable);
  std::string_view rest = text;
  if (rest.starts_with(kByteOrderMark)) rest.remove_prefix(kByteOrderMark.size());
  std::vector<TableLine> lines;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    if (!trimmed(line).empty()) lines.push_back({number, cells_of(line)});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

}  // namespace medgen
