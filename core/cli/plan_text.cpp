// SPDX-License-Identifier: Apache-2.0
#include "core/cli/plan_text.h"

#include "core/cli/console.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace medgen::cli {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string memory_text(const StepPlan& step) {
  std::string text = "about " + size_text(step.memory);
  if (step.device_memory > 0) text += fmt::format(" and {} on the GPU", size_text(step.device_memory));
  if (step.weights > 0) text += fmt::format(", of it {} of weights", size_text(step.weights));
  if (!step.unknown.empty()) text += fmt::format("; unknown, on top: {}", fmt::join(step.unknown, ", "));
  return text;
}

std::string files_text(const StepPlan& step) {
  std::string text = fmt::format("{}", fmt::join(step.files, ", "));
  return step.more_files > 0 ? text + fmt::format(" and {} more", step.more_files) : text;
}

/// What the step takes: the name of each thing, and the thing.
Rows facts(const StepPlan& step) {
  Rows rows;
  if (step.memory > 0) rows.push_back({"memory", memory_text(step)});
  if (step.memory > 0) rows.push_back({"time", step.seconds ? "about " + duration_text(*step.seconds) : "unknown"});
  std::string computes = step.precision;
  for (const std::string& note : step.notes) computes += (computes.empty() ? "" : ", ") + note;
  if (!computes.empty()) rows.push_back({"computes", computes});
  if (step.scratch > 0) rows.push_back({"temporary", size_text(step.scratch) + " of files"});
  if (!step.files.empty()) rows.push_back({"files", files_text(step)});
  if (step.output > 0) rows.push_back({"disk", "at most " + size_text(step.output)});
  for (const std::string& warning : step.warnings) rows.push_back({"warning:", warning});
  return rows;
}

std::string total(const Plan& plan) {
  std::string memory = "about " + size_text(plan.memory);
  if (plan.device_memory > 0) memory += fmt::format(", and {} on the GPU", size_text(plan.device_memory));
  memory += plan.budget ? fmt::format(" of the {} in the budget", size_text(plan.allowed))
                        : fmt::format(" of {} available; no budget is set", size_text(plan.allowed));
  if (!plan.complete) memory += "; some parts are unknown";
  Rows rows = {{"memory", memory}};
  rows.push_back({"time", plan.seconds ? "about " + duration_text(*plan.seconds) : "unknown"});
  if (plan.disk > 0) rows.push_back({"disk", "at most " + size_text(plan.disk)});
  return "all\n" + table(rows, "  ");
}

}  // namespace

std::string plan_text(const Plan& plan) {
  std::string text;
  for (const StepPlan& step : plan.steps) {
    text += fmt::format("{}: {}\n", step.step, step.text);
    if (const Rows rows = facts(step); !rows.empty()) text += table(rows, "  ");
  }
  return text + total(plan);
}

}  // namespace medgen::cli
