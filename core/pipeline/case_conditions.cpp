// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/case_conditions.h"

#include "core/base/error.h"
#include "core/base/text.h"
#include "core/config/json.h"
#include "core/config/paths.h"
#include "core/data/table.h"
#include "core/pipeline/conditions.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace medgen {
namespace {

/// A number, or a name.
Json value_of(const std::string& cell) {
  Json value = Json::parse(cell, nullptr, false);
  return value.is_number() ? value : Json(cell);
}

}  // namespace

CaseConditions CaseConditions::read(const ConfigNode& step) {
  CaseConditions conditions;
  if (step.contains("conditions")) conditions.common_ = dump_compact(step.at("conditions").json());
  if (!step.contains("case_conditions")) return conditions;
  const ConfigNode table = step.at("case_conditions");
  const std::filesystem::path path = resolve_path(table);
  if (!std::filesystem::exists(path))
    table.fail("names no file: '{}' does not exist", std::filesystem::absolute(path).lexically_normal().string());
  conditions.read_table(path);
  return conditions;
}

void CaseConditions::read_table(const std::filesystem::path& path) {
  table_ = path;
  const std::vector<TableLine> lines = medgen::read_table(path);
  if (lines.empty()) throw DataError("{}: the table is empty; its heading is case,CONDITION,...", path.string());
  const TableLine& heading = lines.front();
  if (heading.cells.front() != "case" || heading.cells.size() < 2)
    throw DataError("{}:{}: the heading must be case,CONDITION,..., such as case,modality; not '{}'", path.string(),
                    heading.number, heading.text());
  heading_ = heading.number;
  for (auto cell = heading.cells.begin() + 1; cell != heading.cells.end(); ++cell) {
    if (cell->empty() || std::find(columns_.begin(), columns_.end(), *cell) != columns_.end())
      throw DataError("{}:{}: {}", path.string(), heading.number,
                      cell->empty() ? "a column has no name" : fmt::format("the column '{}' comes twice", *cell));
    columns_.push_back(*cell);
  }
  const Json common = Json::parse(common_);
  for (auto line = lines.begin() + 1; line != lines.end(); ++line) {
    if (line->cells.size() != heading.cells.size() || line->cells.front().empty())
      throw DataError("{}:{}: must be {}, not '{}'", path.string(), line->number, heading.text(), line->text());
    const auto [known, is_new] = lines_.emplace(line->cells.front(), Line{line->number, ""});
    if (!is_new)
      throw DataError("{}:{}: the case '{}' is in line {} already", path.string(), line->number, known->first,
                      known->second.number);
    Json conditions = common;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string& cell = line->cells[i + 1];
      if (!cell.empty()) conditions[columns_[i]] = value_of(cell);
    }
    known->second.conditions = dump_compact(conditions);
  }
}

void CaseConditions::check_columns(const ModelPackage& package, const Registry& registry) const {
  if (!has_table()) return;
  for (const std::string& column : columns_) {
    if (const auto problem = condition_problem(column, package, registry))
      throw DataError("{}:{}: the column '{}' {}", table_.string(), heading_, column, *problem);
  }
}

void CaseConditions::check_cases(const std::vector<std::string>& names) const {
  if (!has_table()) return;
  std::vector<std::string> missing;
  std::copy_if(names.begin(), names.end(), std::back_inserter(missing),
               [&](const std::string& name) { return !lines_.contains(name); });
  if (missing.empty()) return;
  constexpr std::size_t kShown = 10;
  throw DataError("{}: no line for {} of {} cases: {}", table_.string(), missing.size(), names.size(),
                  first_of(missing, kShown));
}

const std::string& CaseConditions::of(const std::string& name) const {
  const auto line = lines_.find(name);
  return line == lines_.end() ? common_ : line->second.conditions;
}

std::string CaseConditions::fingerprint(const std::vector<std::string>& names) const {
  Json all = Json::object();
  for (const std::string& name : names) all[name] = of(name);
  return content_hash(all);
}

std::string CaseConditions::describe(const std::string& name) const {
  const auto line = lines_.find(name);
  if (line == lines_.end()) return "case " + name;
  return fmt::format("{}:{}: case {}", table_.string(), line->second.number, name);
}

}  // namespace medgen
