// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/model.h"
#include "core/plugin/registry.h"

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace medgen {

/// Scalars that a training gives to conditioners: those of the step for all cases, and those of a table for each.
class CaseConditions {
 public:
  /// "conditions" and "case_conditions" of a train step. @throws DataError with file and line for a table without a
  /// heading, a line that is not as long as it, and a case or a condition that comes twice.
  static CaseConditions read(const ConfigNode& step);

  bool has_table() const { return !table_.empty(); }

  /// Whether the table's columns are what the model's conditioners take. @throws DataError at the heading.
  void check_columns(const ModelPackage& package, const Registry& registry) const;

  /// @throws DataError that lists the cases that the table lacks.
  void check_cases(const std::vector<std::string>& names) const;

  /// A JSON object. What the table says goes before what the step says.
  const std::string& of(const std::string& name) const;

  /// Of what these cases have.
  std::string fingerprint(const std::vector<std::string>& names) const;

  /// The case, and where the table tells of it, for messages.
  std::string describe(const std::string& name) const;

 private:
  struct Line {
    std::size_t number = 0;
    std::string conditions;  ///< a JSON object, with those of the step that the line leaves alone
  };

  void read_table(const std::filesystem::path& path);

  std::string common_ = "{}";
  std::filesystem::path table_;
  std::size_t heading_ = 0;  ///< its line
  std::vector<std::string> columns_;
  std::map<std::string, Line> lines_;
};

}  // namespace medgen
