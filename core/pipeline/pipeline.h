// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/parallel/group.h"
#include "core/pipeline/plan.h"
#include "core/plugin/host.h"
#include "core/run/observer.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace medgen {

/// A pipeline file that has been read, overridden and validated: every step's shape is known to be right, files it
/// names may still be missing (see `check`).
class Pipeline {
 public:
  /// @param overrides  "steps.ct.steps=10", as --set gives them.
  /// @throws ConfigError with file:line:column.
  static Pipeline load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
  static Pipeline parse(const std::string& text, const std::filesystem::path& folder,
                        const std::vector<std::string>& overrides = {});
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;
  Pipeline& operator=(Pipeline&&) noexcept;

  /// The document with all defaults filled in, as JSON text.
  std::string resolved() const;
  std::uint64_t seed() const;
  /// What `runtime` asks of the host: threads, precision, device.
  HostOptions host_options() const;
  /// Names of the steps in order.
  std::vector<std::string> steps() const;

  /// Whether the models that are written in line fit their plugins, by the plugins' own word, and what tables beside
  /// the pipeline say fits the models; opens no weights and no data. @throws ConfigError, DataError for a table
  void check_models(Host& host) const;

  /// As `plan`, for those who only want to know whether it throws.
  void check(Host& host) const;

  using StepPlan = medgen::StepPlan;

  /// What a run would do and take. Everything that can be checked without computing is, the memory and the disk
  /// included. @throws the first problem found; OutOfMemoryError for a run that needs more memory than `runtime.memory`
  /// allows, or than there is.
  /// @param job  see `run`: what is planned is this process's part.
  Plan plan(Host& host, const Job& job = {}) const;

  /// Plans, then runs all steps, with components kept to what the plan gives them; returns the folders that were
  /// written. Finished samples of an earlier, interrupted run of the same pipeline are kept and not computed again.
  /// @param job  of several processes that run the same pipeline: the part of the work that is this one's
  /// @throws Cancelled after the files of finished samples and a manifest to resume from have been written.
  std::vector<std::filesystem::path> run(Host& host, const RunObserver& observer, const Job& job = {}) const;

 private:
  struct Impl;
  explicit Pipeline(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The JSON Schema of pipeline files.
std::string pipeline_schema();

}  // namespace medgen
