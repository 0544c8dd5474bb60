// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"
#include "core/pipeline/plan.h"
#include "core/pipeline/sample.h"
#include "core/run/manifest.h"
#include "core/volume/labels.h"

#include <filesystem>
#include <memory>
#include <set>
#include <string>

namespace medgen {

enum class Layout { Folders, Pairs, NnUnet };

/// By its name in a pipeline.
Layout layout_of(const std::string& name);

struct WriteOptions {
  std::string step;
  std::filesystem::path to;
  Layout layout = Layout::Folders;
  std::string contact_sheet;  ///< file name in the folder, or empty
  bool overwrite = false;
  std::string fingerprint;                 ///< of everything that decides the samples
  std::shared_ptr<const Json> manifest;    ///< the pipeline as run.json will hold it
  LabelTable labels;                       ///< names for dataset.json
  Part part;                               ///< of the samples, that this process writes
  std::set<std::filesystem::path> inputs;  ///< canonical paths of what the run reads, which is never replaced
};

/// Whether the folder could be made and written to, as far as that can be told without doing it. @throws RuntimeError
void check_folder(const std::filesystem::path& folder);

/// Files that no run of ours recorded belong to somebody else, and inputs are never replaced.
/// @param continued  whether the folder is that of this very run, begun before. @throws DataError for the first such
/// file
void refuse_to_replace(const SampleSource& source, const WriteOptions& options, bool continued);

/// Adds to a plan what writing all samples of a source makes: files, and bytes of those that are not there yet.
void plan_writing(const SampleSource& source, const std::filesystem::path& to, Layout layout, StepPlan& plan);

/// Writes all samples of a source that the folder does not hold already: each file under a temporary name first, then
/// renamed; a sample counts as finished when all its files are in place. run.json is written at the end, also of a run
/// that was cancelled or failed. Several processes may write their parts to one folder: the last one to finish writes
/// what describes it as a whole. @throws whatever stopped the run.
void write_samples(SampleSource& source, const WriteOptions& options, const RunObserver& observer);

}  // namespace medgen
