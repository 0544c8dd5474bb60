// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/pipeline/plan.h"
#include "core/pipeline/steps.h"

#include <string>
#include <vector>

namespace medgen {

/// What all steps that make samples take together, beside the process itself.
struct MemoryPrediction {
  struct Step {
    std::string name;
    Demand demand;
    std::uint64_t memory = 0, device_memory = 0;  ///< of the process while it works, earlier steps included
  };

  std::vector<Step> steps;
  std::uint64_t memory = 0, device_memory = 0;
  std::string largest;  ///< name of the step that takes most
};

/// Adds up steps in their order. Models stay loaded to the end of a run; `kept` are samples that stay in memory because
/// several steps read them.
/// @param process  what the process takes before any work
MemoryPrediction add_up(std::uint64_t process, const std::vector<std::pair<std::string, Demand>>& demands,
                        std::uint64_t kept);

/// What a run writes to one disk, temporary files included.
struct DiskUse {
  std::uint64_t least = 0;  ///< however well volumes compress
  std::uint64_t most = 0;   ///< when they do not compress at all
  bool trains = false;      ///< of it, checkpoints and what else trainings write
};

/// @param folder  where on the disk
/// @return a warning when it may not fit, else nothing
/// @throws RuntimeError when it cannot fit
std::string disk_warning(const DiskUse& use, std::uint64_t free, const std::string& folder);

/// Plans a pipeline: what it does, takes, and how little memory components must be given so that it fits.
class Planner {
 public:
  /// @param job  of several processes: each plans its part, in its part of the memory of the machine.
  Planner(ConfigNode document, Host& host, const Job& job = {});

  /// @throws the first problem that can be found without computing; OutOfMemoryError for a run that does not fit in
  /// memory, RuntimeError for one that does not fit on the disk, both with what would fit.
  Plan plan();

 private:
  std::uint64_t processes() const;
  std::uint64_t available() const;
  /// The largest volumes or patches that would fit, as a sentence.
  std::optional<std::string> smaller_volumes(std::uint64_t allowed, const HostOptions& options,
                                             const MemoryPrediction& least, TrainWhatIf what_if);
  /// What would fit instead, as sentences.
  std::vector<std::string> alternatives(std::uint64_t allowed, const HostOptions& options,
                                        const MemoryPrediction& least);
  MemoryPrediction predict(const HostOptions& options, const TrainWhatIf& what_if = {});
  MemoryPrediction fitted(HostOptions& options, std::uint64_t allowed);
  void fill(const MemoryPrediction& prediction, Plan& plan) const;
  [[noreturn]] void refuse(const MemoryPrediction& least, const HostOptions& options, const Plan& plan);

  ConfigNode document_;
  Host& host_;
  Job job_;
  StepGraph graph_;
  std::uint64_t kept_ = 0;
};

}  // namespace medgen
