// SPDX-License-Identifier: Apache-2.0
// Which cases a model is trained, watched and judged on. All cases of a subject go to the same part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace medgen {

/// The subject that a case's name tells: "sub-XY" where the name has it (BIDS, up to the next "_" or the end); else the
/// name without what tells visits and parts apart at its end: "_" or "-", one of ses, session, visit, scan, time, tp,
/// t, phase, slice, patch, crop, and a number ("case7_t2", "p3_visit-01_slice012"). A number alone stays:
/// "hippocampus_001" and "hippocampus_002" are two subjects.
std::string subject_of(std::string_view case_name);

/// Case -> subject, from a table with a line for each case, "case,subject" (or a tab between); a first line that says
/// just that is a heading. @throws DataError with the line for a line without both, and for a case with two subjects.
std::map<std::string, std::string> read_subject_table(const std::filesystem::path& path);

struct SplitFractions {
  double train = 0.8;
  double validation = 0.1;
  double test = 0.1;
};

/// Indices into the cases, rising.
struct Split {
  std::vector<std::size_t> train;
  std::vector<std::size_t> validation;
  std::vector<std::size_t> test;
};

/// Subjects are put in an order that the seed and their names give, whatever the order of the cases, and cut by the
/// fractions (of subjects); a part with a fraction above 0 gets at least one.
/// @param subjects  subject of each case.
/// @throws DataError for fractions that are negative or do not sum to 1, and for fewer subjects than parts.
Split split_by_subject(std::span<const std::string> subjects, const SplitFractions& fractions, std::uint64_t seed);

/// The subjects of the cases, by the table when there is one, else by `subject_of`.
/// @throws DataError that lists the cases that the table lacks.
std::vector<std::string> subjects_of(std::span<const std::string> cases,
                                     const std::map<std::string, std::string>& table = {});

}  // namespace medgen
