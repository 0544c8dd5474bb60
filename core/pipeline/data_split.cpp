// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/data_split.h"

#include "core/config/paths.h"

#include <numeric>
#include <string>

namespace medgen {

SplitOptions SplitOptions::read(const ConfigNode& step, std::uint64_t seed) {
  SplitOptions options;
  options.seed = seed;
  SplitFractions& parts = options.fractions;
  if (step.contains("split")) {
    const ConfigNode split = step.at("split");
    if (step.contains("validation"))
      step.at("validation").fail("is short for {{\"split\": {{\"validation\": ...}}}}; give one of the two");
    parts.validation = split.get<double>("validation", 0.0);
    parts.test = split.get<double>("test", 0.0);
    parts.train = split.get<double>("train", 1 - parts.validation - parts.test);
    if (split.contains("subjects")) options.subjects = resolve_path(split.at("subjects"));
    if (!(parts.train > 0)) split.fail("leaves nothing to train on");
  } else if (step.contains("validation")) {
    parts.validation = step.at("validation").as<double>();
    parts.train = 1 - parts.validation;
  }
  return options;
}

FoundCases training_cases(const std::filesystem::path& folder, bool skip_bad) {
  return skip_bad ? open_with_bad_cases(folder) : FoundCases{open_dataset(folder), {}};
}

Split split_cases(const std::vector<Case>& cases, const SplitOptions& options) {
  Split split;
  if (!options.splits()) {
    split.train.resize(cases.size());
    std::iota(split.train.begin(), split.train.end(), std::size_t{0});
    return split;
  }
  std::vector<std::string> names;
  for (const Case& each : cases) names.push_back(each.name);
  const auto table =
      options.subjects.empty() ? std::map<std::string, std::string>() : read_subject_table(options.subjects);
  return split_by_subject(subjects_of(names, table), options.fractions, options.seed);
}

}  // namespace medgen
