// SPDX-License-Identifier: Apache-2.0
#include "core/data/split.h"

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/data/table.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <regex>
#include <set>

namespace medgen {
namespace {

/// Sizes of the parts: the fractions of `count`, at least one where there is a fraction, together `count`.
std::array<std::size_t, 3> part_sizes(const std::array<double, 3>& fractions, std::size_t count) {
  std::array<std::size_t, 3> sizes{};
  double until = 0;
  std::size_t given = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    until += fractions[i];
    const auto end = static_cast<std::size_t>(std::lround(until * static_cast<double>(count)));
    sizes[i] = end - given;
    given = end;
  }
  for (std::size_t i = 0; i < 3; ++i) {
    if (sizes[i] > 0 || fractions[i] == 0) continue;
    --*std::max_element(sizes.begin(), sizes.end());
    ++sizes[i];
  }
  return sizes;
}

void require_sound(const std::array<double, 3>& fractions, std::size_t subjects) {
  double sum = 0;
  std::size_t parts = 0;
  for (const double fraction : fractions) {
    sum += fraction;
    parts += fraction > 0;
    if (!(fraction >= 0)) throw DataError("the fraction {:g} of a split is negative", fraction);
  }
  if (!(std::fabs(sum - 1) < 1e-6)) throw DataError("the fractions of a split sum to {:g}, not 1", sum);
  if (subjects < parts)
    throw DataError(
        "{} subject{} cannot be split into {} parts: leave \"validation\" or \"split\" out, or add subjects", subjects,
        subjects == 1 ? "" : "s", parts);
}

}  // namespace

std::string subject_of(std::string_view case_name) {
  static const std::regex bids("(^|_)(sub-[^_]+)");
  static const std::regex ending("[_-](ses|session|visit|scan|time|tp|t|phase|slice|patch|crop)[-_]?[0-9]+$",
                                 std::regex::icase);
  std::string name(case_name);
  std::smatch found;
  if (std::regex_search(name, found, bids)) return found[2];
  while (std::regex_search(name, found, ending) && found.position() > 0) name.resize(found.position());
  return name;
}

std::map<std::string, std::string> read_subject_table(const std::filesystem::path& path) {
  std::map<std::string, std::string> table;
  for (const TableLine& line : read_table(path)) {
    if (line.cells.size() != 2 || line.cells[0].empty() || line.cells[1].empty()) {
      throw DataError("{}:{}: must be CASE,SUBJECT, not '{}'", path.string(), line.number, line.text());
    }
    const std::string &name = line.cells[0], &subject = line.cells[1];
    if (line.number == 1 && name == "case" && subject == "subject") continue;
    const auto [known, is_new] = table.emplace(name, subject);
    if (!is_new && known->second != subject) {
      throw DataError("{}:{}: the case '{}' has two subjects, '{}' and '{}'", path.string(), line.number, name,
                      known->second, subject);
    }
  }
  return table;
}

std::vector<std::string> subjects_of(std::span<const std::string> cases,
                                     const std::map<std::string, std::string>& table) {
  std::vector<std::string> subjects, missing;
  for (const std::string& name : cases) {
    const auto known = table.find(name);
    if (!table.empty() && known == table.end()) missing.push_back(name);
    subjects.push_back(known == table.end() ? subject_of(name) : known->second);
  }
  if (missing.empty()) return subjects;
  const std::size_t count = missing.size();
  missing.resize(std::min<std::size_t>(count, 10));
  throw DataError("the table of subjects lacks {} of {} cases: {}{}", count, cases.size(), fmt::join(missing, ", "),
                  count > missing.size() ? " ..." : "");
}

Split split_by_subject(std::span<const std::string> subjects, const SplitFractions& fractions, std::uint64_t seed) {
  const std::set<std::string> distinct(subjects.begin(), subjects.end());
  const std::array<double, 3> parts = {fractions.train, fractions.validation, fractions.test};
  require_sound(parts, distinct.size());
  std::map<std::string, std::string> order;  // hash -> subject
  for (const std::string& subject : distinct) order[sha256(fmt::format("split {} {}", seed, subject))] = subject;
  const auto sizes = part_sizes(parts, distinct.size());
  std::map<std::string, std::size_t> part_of;
  std::size_t place = 0;
  for (const auto& [hash, subject] : order) {
    part_of[subject] = place < sizes[0] ? 0 : place < sizes[0] + sizes[1] ? 1 : 2;
    ++place;
  }
  Split split;
  const std::array<std::vector<std::size_t>*, 3> lists = {&split.train, &split.validation, &split.test};
  for (std::size_t i = 0; i < subjects.size(); ++i) lists[part_of.at(subjects[i])]->push_back(i);
  return split;
}

}  // namespace medgen
