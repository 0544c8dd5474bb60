// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/data/split.h"
#include "core/io/dataset.h"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace medgen {

/// Which cases of a data folder a training learns from, and which it never sees.
struct SplitOptions {
  SplitFractions fractions{.train = 1, .validation = 0, .test = 0};
  std::filesystem::path subjects;  ///< a table, "case,subject"; empty: names tell the subject
  std::uint64_t seed = 0;

  bool splits() const { return fractions.train < 1; }

  /// "split" or, in short, "validation" of a train step, validated.
  /// @throws ConfigError when both are given, or the fractions leave nothing to train on.
  static SplitOptions read(const ConfigNode& step, std::uint64_t seed);
};

/// The cases of a data folder, with what is wrong with some where those are to be left out.
/// @throws DataError as `open_dataset` or `open_with_bad_cases`.
FoundCases training_cases(const std::filesystem::path& folder, bool skip_bad);

/// The cases, by subject. @throws DataError as `split_by_subject` and `read_subject_table`.
Split split_cases(const std::vector<Case>& cases, const SplitOptions& options);

}  // namespace medgen
