// SPDX-License-Identifier: Apache-2.0
// What a data set holds and what is wrong with it: for looking at data before anything is trained or generated.
#pragma once

#include "core/io/dataset.h"
#include "core/run/observer.h"
#include "core/survey/statistics.h"
#include "core/volume/volume.h"

#include <functional>
#include <string>
#include <vector>

namespace medgen {

struct Finding {
  enum class Severity {
    Warning,  ///< usable, but look at it
    Error,    ///< a training would refuse it
  };
  Severity severity = Severity::Warning;
  std::string subject;  ///< name of a case, or "" for the data set
  std::string text;
};

struct VolumeFacts {
  std::filesystem::path file;
  Geometry geometry;
  DType dtype = DType::U8;
  std::int64_t channels = 1;
};

struct CaseFacts {
  std::string name;
  std::vector<VolumeFacts> images;          ///< of the files that could be read
  std::vector<IntensityFacts> intensities;  ///< one a channel; none for channels without a finite voxel
  std::optional<VolumeFacts> label;
  std::map<std::int64_t, std::uint64_t> labels;  ///< voxels of each id
  bool usable = true;                            ///< no Finding of it is an error

  /// Of its images, each a file or together in one.
  std::int64_t channels() const;
  /// What tells its grid: the first image, or the label map of a case without; null when nothing could be read.
  const VolumeFacts* grid() const;
};

struct Survey {
  std::string name;
  std::vector<std::string> channels;
  LabelTable table;  ///< what the ids mean; empty when nobody says
  std::vector<CaseFacts> cases;
  std::vector<Finding> findings;

  /// Whether there are cases and no finding is an error.
  bool ok() const;
  std::size_t usable() const;
};

/// Is shown each case while its volumes are in memory: its number, the first image and the label map.
using CaseViewer = std::function<void(std::size_t, const Volume& image, const std::optional<Volume>& label)>;

/// Reads every case, one at a time: memory is that of one case, whatever the size of the data set.
/// @param table  in place of the data set's own when it is not empty.
/// @throws Cancelled. Whatever is wrong with the data is a finding.
Survey survey(FoundCases found, const LabelTable& table, const RunObserver& observer, const CaseViewer& viewer = {});

/// Size and spacing of an image along the patient's axes (right, anterior, superior), however its file is oriented.
Geometry in_ras(const Geometry& geometry);

}  // namespace medgen
