// SPDX-License-Identifier: Apache-2.0
#include "core/survey/survey.h"

#include "core/base/text.h"
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

void tell_unused(const std::string& where, const std::vector<std::string>& files, std::vector<Finding>& findings) {
  findings.push_back({Severity::Warning, "",
                      fmt::format("{}: {} file{} that belong{} to no case: {} (volumes are {})", where, files.size(),
                                  files.size() == 1 ? "" : "s", files.size() == 1 ? "s" : "", first_of(files),
                                  supported_volume_formats())});
}

/// Files beside those of the cases that no case has: another format, a channel that nobody told of, a scan that is not
/// in the list. Of many folders, as where every case has one, they are told together.
void tell_unused_files(const std::vector<Case>& cases, std::vector<Finding>& findings) {
  constexpr std::size_t kFolders = 3;
  std::map<fs::path, std::set<fs::path>> used;
  const auto use = [&](const fs::path& file) { used[file.parent_path()].insert(file); };
  for (const Case& one : cases) {
    for (const fs::path& image : one.images) use(image);
    if (one.label) use(*one.label);
  }
  std::map<std::string, std::vector<std::string>> unused;
  std::vector<std::string> all;
  for (const auto& [folder, files] : used) {
    std::error_code error;
    if (!fs::is_directory(folder, error)) continue;
    const auto stranger = [&files = files](const fs::path& path) {
      return path.filename() != "dataset.json" && fs::is_regular_file(path) && !files.contains(path);
    };
    for (const fs::path& file : files_in(folder, stranger)) {
      unused[folder.string()].push_back(file.filename().string());
      all.push_back((folder.filename() / file.filename()).string());
    }
  }
  if (unused.size() > kFolders) return tell_unused(fmt::format("{} folders", unused.size()), all, findings);
  for (const auto& [folder, files] : unused) tell_unused(folder, files, findings);
}

void tell_mixed_orientations(const std::vector<CaseFacts>& cases, std::vector<Finding>& findings) {
  std::map<std::string, std::size_t> codes;
  for (const CaseFacts& one : cases) {
    if (const VolumeFacts* grid = one.grid()) ++codes[grid->geometry.affine.orientation()];
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
    const VolumeFacts* const grid = one.grid();
    if (grid == nullptr) continue;
    const Vec3 spacing = in_ras(grid->geometry).affine.spacing_mm();
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

/// Cases unlike most others, and what a training has to be told of all.
void tell_channels(Survey& survey) {
  std::map<std::int64_t, std::size_t> counts;
  for (const CaseFacts& one : survey.cases) {
    if (!one.images.empty()) ++counts[one.channels()];
  }
  if (counts.empty()) return;
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  const std::int64_t common = std::max_element(counts.begin(), counts.end(), fewer)->first;
  for (CaseFacts& one : survey.cases) {
    if (one.images.empty() || one.channels() == common) continue;
    one.usable = false;
    survey.findings.push_back(
        {Severity::Error, one.name,
         fmt::format("has {} image channels (files, or of a 4D image), most cases have {}", one.channels(), common)});
  }
  if (common == 1) return;
  const bool named = survey.channels.size() == static_cast<std::size_t>(common);
  survey.findings.push_back(
      {Severity::Warning, "",
       fmt::format("cases have {} image channels{}; \"channel\" of the train step says which one is learnt from",
                   common, named ? fmt::format(" ({})", fmt::join(survey.channels, ", ")) : "")});
}

/// @param problems  what the search for cases has told already
void tell_missing_labels(const Survey& survey, const std::vector<CaseProblem>& problems,
                         std::vector<Finding>& findings) {
  std::set<std::int64_t> seen;
  std::size_t labelled = 0;
  for (const CaseFacts& one : survey.cases) {
    for (const auto& [id, voxels] : one.labels) seen.insert(id);
    labelled += one.label ? 1 : 0;
  }
  if (labelled == 0) return;
  const auto is_told = [&told = problems](const CaseFacts& one) {
    return std::any_of(told.begin(), told.end(), [&](const CaseProblem& problem) { return problem.name == one.name; });
  };
  for (const CaseFacts& one : survey.cases) {
    if (!one.label && one.usable && !is_told(one))
      findings.push_back({Severity::Warning, one.name, "has no label map"});
  }
  std::vector<std::string> absent;
  for (const auto& [id, name] : survey.table.names()) {
    if (id != 0 && !seen.contains(id)) absent.push_back(name);
  }
  if (!absent.empty())
    findings.push_back({Severity::Warning, "", fmt::format("no case has the labels {}", fmt::join(absent, ", "))});
}

}  // namespace

std::int64_t CaseFacts::channels() const {
  std::int64_t channels = 0;
  for (const VolumeFacts& image : images) channels += image.channels;
  return channels;
}

const VolumeFacts* CaseFacts::grid() const {
  if (!images.empty()) return &images.front();
  return label ? &*label : nullptr;
}

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
  tell_channels(survey);
  tell_mixed_orientations(survey.cases, survey.findings);
  tell_mixed_spacing(survey.cases, survey.findings);
  tell_missing_labels(survey, found.problems, survey.findings);
  return survey;
}

}  // namespace medgen
