// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// What one step of a pipeline would do and take. Memory is that of the whole process while the step works.
struct StepPlan {
  std::string step;
  std::string verb;
  std::uint64_t samples = 0;
  std::string text;  ///< one line: what will be done, with what
  std::vector<std::string> warnings;

  std::uint64_t memory = 0;         ///< most at a time; 0: not known
  std::uint64_t device_memory = 0;  ///< the same of the GPU
  std::uint64_t weights = 0;        ///< of it, the step's models
  std::uint64_t scratch = 0;        ///< bytes of temporary files
  std::uint64_t output = 0;         ///< bytes of the files still to be written, before compression: at most
  std::uint64_t output_least = 0;   ///< the same, however well volumes compress
  std::optional<double> seconds;    ///< about; nothing: not known
  std::string precision;
  std::vector<std::string> notes;    ///< how components go about it
  std::vector<std::string> unknown;  ///< components that cannot tell what they take: it comes on top
  std::string folder;                ///< of the files it writes
  std::vector<std::string> files;    ///< of its samples, in `folder`; the first few
  std::uint64_t more_files = 0;
};

/// What a pipeline would do, accepted: it fits.
struct Plan {
  std::vector<StepPlan> steps;
  std::uint64_t memory = 0;  ///< most at a time of the whole run, what is unknown left out
  std::uint64_t device_memory = 0;
  std::uint64_t allowed = 0;            ///< by the budget, else by the machine
  std::optional<std::uint64_t> budget;  ///< runtime.memory
  std::uint64_t component_budget = 0;   ///< what components are given, so that it fits; 0: none
  std::uint64_t disk = 0;               ///< outputs and temporary files, at most
  std::optional<double> seconds;        ///< about
  bool complete = true;                 ///< whether every component told what it takes
};

/// "1.31 GiB", "40 MiB", "512 B"
std::string size_text(std::uint64_t bytes);
/// "12 s", "4 min", "2.5 h", "3.1 days"
std::string duration_text(double seconds);

}  // namespace medgen
