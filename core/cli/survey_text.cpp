// SPDX-License-Identifier: Apache-2.0
#include "core/cli/survey_text.h"

#include "core/cli/console.h"
#include "core/survey/document.h"
#include "core/survey/suggestion.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace medgen::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string short_number(double value) {
  return fmt::format("{:.6g}", value);
}

/// "33..41 (36)", or the number alone where all are the same.
std::string text_of(const Spread& spread) {
  if (short_number(spread.minimum) == short_number(spread.maximum)) return short_number(spread.median);
  return fmt::format("{}..{} ({})", short_number(spread.minimum), short_number(spread.maximum),
                     short_number(spread.median));
}

/// "RAS 10, LPS 5"
std::string text_of(const std::map<std::string, std::size_t>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} {}", name, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> axes_row(const std::string& what, const std::array<Spread, 3>& axes) {
  return {what, text_of(axes[0]), text_of(axes[1]), text_of(axes[2])};
}

std::string headline(const Survey& survey, const Summary& summary) {
  const std::string name = survey.name.empty() ? "" : survey.name + ": ";
  return fmt::format("{}{} case{}, {} usable, {} with a label map\n", name, survey.cases.size(),
                     survey.cases.size() == 1 ? "" : "s", survey.usable(), summary.labelled);
}

std::string grids(const Summary& summary) {
  const Rows rows = {{"", "x (right)", "y (anterior)", "z (superior)"},
                     axes_row("voxels", summary.size),
                     axes_row("spacing mm", summary.spacing_mm),
                     axes_row("field of view mm", summary.fov_mm)};
  Rows kinds = {{"orientation", text_of(summary.orientations)}};
  if (!summary.types.empty()) kinds.push_back({"image type", text_of(summary.types)});
  if (!summary.label_types.empty()) kinds.push_back({"label type", text_of(summary.label_types)});
  return '\n' + table(rows) + '\n' + table(kinds);
}

std::string intensities(const Survey& survey, const Summary& summary) {
  if (summary.channels.empty()) return "";
  Rows rows = {{"intensity", "minimum"}};
  for (const double percent : kPercents) rows[0].push_back(fmt::format("{:g} %", percent));
  rows[0].emplace_back("maximum");
  for (std::size_t c = 0; c < summary.channels.size(); ++c) {
    const Summary::Channel& channel = summary.channels[c];
    rows.push_back(
        {c < survey.channels.size() ? survey.channels[c] : fmt::format("channel {}", c), text_of(channel.minimum)});
    for (const Spread& percentile : channel.percentiles) rows.back().push_back(text_of(percentile));
    rows.back().push_back(text_of(channel.maximum));
  }
  return '\n' + table(rows);
}

std::string labels(const Summary& summary) {
  if (summary.labels.empty()) return "";
  Rows rows = {{"label", "name", "cases", "voxels", "share"}};
  for (const auto& [id, label] : summary.labels) {
    rows.push_back({std::to_string(id),
                    !label.name.empty() ? label.name
                    : id == 0           ? "background"
                                        : "-",
                    std::to_string(label.cases), std::to_string(label.voxels),
                    fmt::format("{:.3g} %", 100 * label.share)});
  }
  return '\n' + table(rows);
}

/// Findings with one text are one line that names the cases.
std::string findings(const Survey& survey, Finding::Severity severity, const char* title) {
  constexpr std::size_t kNames = 8;
  std::vector<std::pair<std::string, std::vector<std::string>>> groups;
  for (const Finding& finding : survey.findings) {
    if (finding.severity != severity) continue;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == finding.text; });
    if (group == groups.end()) group = groups.insert(groups.end(), {finding.text, {}});
    if (!finding.subject.empty()) group->second.push_back(finding.subject);
  }
  if (groups.empty()) return "";
  std::string text = fmt::format("\n{}:\n", title);
  for (auto& [what, names] : groups) {
    const std::size_t count = names.size();
    if (severity == Finding::Severity::Warning && count > kNames) {
      names.resize(kNames);
      names.push_back(fmt::format("and {} more (--json lists all)", count - kNames));
    }
    text += fmt::format("  {}{}{}\n", fmt::join(names, ", "), names.empty() ? "" : ": ", what);
  }
  return text;
}

std::string suggested(const Survey& survey) {
  const Json json = suggestion(survey);
  if (json.empty()) return "";
  std::vector<std::string> keys;
  for (const char* key : {"crop", "channel", "resample_mm"}) {
    if (json.contains(key)) keys.push_back(fmt::format("\"{}\"", key));
  }
  return fmt::format("\nsuggested for a train step ({}) and the model's data contract (\"data\"):\n",
                     fmt::join(keys, ", ")) +
         dump_pretty(json);
}

}  // namespace

std::string survey_text(const Survey& survey) {
  const Summary summary = summarize(survey);
  std::string text = headline(survey, summary);
  if (!summary.orientations.empty()) text += grids(summary) + intensities(survey, summary);
  text += labels(summary);
  text += findings(survey, Finding::Severity::Error, "errors");
  text += findings(survey, Finding::Severity::Warning, "warnings");
  return text + suggested(survey);
}

}  // namespace medgen::cli
