// SPDX-License-Identifier: Apache-2.0
#include "core/survey/survey.h"

#include "core/io/volume_file.h"
#include "core/survey/case_examiner.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

namespace medgen {
namespace {

namespace fs = std::filesystem;

using Severity = Finding::Severity;

/// "a, b, c and 4 more"
std::string few(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 3;
  const std::size_t shown = std::min(names.size(), kNamed);
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(shown);
  const std::string more = names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "";
  return fmt::format("{}{}", fmt::join(names.begin(), end, ", "), more);
}

/// Files beside those of the cases that no case has: another format, a channel that nobody told of, a scan that is not
/// in the list.
void tell_unused_files(const std::vector<Case>& cases, std::vector<Finding>& findings) {
  std::map<fs::path, std::set<fs::path>> used;
  const auto use = [&](const fs::path& file) { used[file.parent_path()].insert(file); };
  for (const Case& one : cases) {
    for (const fs::path& image : one.images) use(image);
    if (one.label) use(*one.label);
  }
  for (const auto& [folder, files] : used) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) continue;
    std::vector<std::string> unused;
    const auto stranger = [&files = files](const fs::path& path) {
      return path.filename() != "dataset.json" && fs::is_regular_file(path) && !files.contains(path);
    };
    for (const fs::path& file : files_in(folder, stranger)) unused.push_back(file.filename().string());
    if (unused.empty()) continue;
    findings.push_back({Severity::Warning, "",
                        fmt::format("{}: {} file{} that belong{} to no case: {} (volumes are {})", folder.string(),
                                    unused.size(), unused.size() == 1 ? "" : "s", unused.size() == 1 ? "s" : "",
                                    few(unused), supported_volume_formats())});
  }
}

void tell_mixed_orientations(const std::vector<CaseFacts>& cases, std::vector<Finding>& findings) {
  std::map<std::string, std::size_t> codes;
  for (const CaseFacts& one : cases) {
    if (!one.images.empty()) ++codes[one.images.front().geometry.affine.orientation()];
  }
  if (codes.size() < 2) return;
  std::vector<std::string> counts;
  for (const auto& [code, count] : codes) counts.push_back(fmt::format("{} {}", code, count));
  findings.push_back({Severity::Warning, "", fmt::format("orientations differ: {}", fmt::join(counts, ", "))});
}

void tell_mixed_spacing(const std::vector<CaseFacts>& cases, std::vector<Finding>& findings) {
  constexpr double kSame = 1.02;
  std::array<std::vector<double>, 3> sides;
  for (const CaseFacts& one : cases) {
    if (one.images.empty()) continue;
    const Vec3 spacing = in_ras(one.images.front().geometry).affine.spacing_mm();
    for (std::size_t axis = 0; axis < 3; ++axis) sides[axis].push_back(spacing[axis]);
  }
  std::vector<std::string> mixed;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Spread spread = spread_of(sides[axis]);
    if (spread.maximum <= kSame * spread.minimum) continue;
    mixed.push_back(fmt::format("{} {:.3g} to {:.3g} mm", "xyz"[axis], spread.minimum, spread.maximum));
  }
  if (mixed.empty()) return;
  findings.push_back(
      {Severity::Warning, "",
       fmt::format("voxel sizes differ: {}; a model learns them only where it is told of the spacing, else "
                   "\"resample_mm\" of the train step makes them one",
                   fmt::join(mixed, ", "))});
}

void tell_missing_labels(const Survey& survey, std::vector<Finding>& findings) {
  std::set<std::int64_t> seen;
  std::size_t labelled = 0;
  for (const CaseFacts& one : survey.cases) {
    for (const auto& [id, voxels] : one.labels) seen.insert(id);
    labelled += one.label ? 1 : 0;
  }
  if (labelled == 0) return;
  for (const CaseFacts& one : survey.cases) {
    if (!one.label && one.usable) findings.push_back({Severity::Warning, one.name, "has no label map"});
  }
  std::vector<std::string> absent;
  for (const auto& [id, name] : survey.table.names()) {
    if (id != 0 && !seen.contains(id)) absent.push_back(name);
  }
  if (!absent.empty())
    findings.push_back({Severity::Warning, "", fmt::format("no case has the labels {}", fmt::join(absent, ", "))});
}

}  // namespace

bool Survey::ok() const {
  const auto is_error = [](const Finding& finding) { return finding.severity == Severity::Error; };
  return !cases.empty() && std::none_of(findings.begin(), findings.end(), is_error);
}

std::size_t Survey::usable() const {
  return static_cast<std::size_t>(
      std::count_if(cases.begin(), cases.end(), [](const CaseFacts& one) { return one.usable; }));
}

Geometry in_ras(const Geometry& geometry) {
  return reorient(geometry, reorientation(geometry.affine, "RAS"));
}

Survey survey(FoundCases found, const LabelTable& table, const RunObserver& observer, const CaseViewer& viewer) {
  Survey survey;
  survey.name = found.dataset.name;
  survey.channels = found.dataset.channels;
  survey.table = table.empty() ? found.dataset.labels : table;
  for (const CaseProblem& problem : found.problems) survey.findings.push_back({Severity::Error, "", problem.text});
  for (const std::string& warning : found.dataset.warnings) survey.findings.push_back({Severity::Warning, "", warning});
  const std::vector<Case>& cases = found.dataset.cases;
  CaseExaminer reader(survey.table, survey.findings);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    observer.check_cancelled();
    survey.cases.push_back(reader.read(cases[i], i, viewer));
    observer.report({{}, "reading", cases[i].name, i + 1, cases.size(), {}});
  }
  if (!survey.name.empty()) tell_unused_files(cases, survey.findings);  // single files stand for themselves
  tell_mixed_orientations(survey.cases, survey.findings);
  tell_mixed_spacing(survey.cases, survey.findings);
  tell_missing_labels(survey, survey.findings);
  return survey;
}

}  // namespace medgen
