// SPDX-License-Identifier: Apache-2.0
// Folders of images and label maps, as the Medical Segmentation Decathlon and nnU-Net keep them, or plain ones.
#pragma once

#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

struct Case {
  std::string name;
  std::vector<std::filesystem::path> images;  ///< one file a channel, or one file with all of them
  std::optional<std::filesystem::path> label;
};

struct Dataset {
  std::string name;
  std::vector<std::string> channels;  ///< names, in the order of Case::images
  LabelTable labels;                  ///< empty for a plain folder
  std::vector<Case> cases;            ///< sorted by name, at least one
  std::vector<std::string> warnings;
};

/// A folder with dataset.json (or that file): the Decathlon's ("training": [{"image", "label"}], "labels": {"1":
/// name}), or nnU-Net v2's ("channel_names", "labels": {name: 1}, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz); of
/// nnU-Net v1 the list is the Decathlon's and the files are nnU-Net's. Without dataset.json: images/ and labels/ with
/// files of the same name. Names that begin with "._" or "." are passed over.
/// @throws DataError that lists every file that is missing or without its partner, with file:line:column for
/// dataset.json.
Dataset open_dataset(const std::filesystem::path& path);

/// Cases from two lists of files, paired by name without extension ("_image" and "_label" at its end do not count).
/// Without labels the cases have images only. @throws DataError that lists every file without partner and every name
/// that comes twice.
Dataset pair_files(const std::vector<std::filesystem::path>& images, const std::vector<std::filesystem::path>& labels);

/// Writes an nnU-Net v2 data set: imagesTr/NAME_0000.nii.gz (one a channel), labelsTr/NAME.nii.gz, and dataset.json at
/// the end. Each file appears completely or not at all; an existing case of the same name is replaced. Label ids are
/// written as they are, though nnU-Net itself trains on consecutive ones only. One thread at a time.
class DatasetWriter {
 public:
  /// Creates the folders. @throws DataError without channels, RuntimeError when the folders cannot be made.
  DatasetWriter(std::filesystem::path folder, std::string name, std::vector<std::string> channels, LabelTable labels);

  /// True when all files of the case are there: to continue an interrupted run.
  bool contains(const std::string& name) const;
  /// @throws DataError for a name that is no file name, an image of another number of channels, a label map that is not
  /// on the image's grid or holds ids that the table lacks (0 is always there).
  void add(const std::string& name, const Volume& image, const std::optional<Volume>& label);
  /// Writes dataset.json, which counts all cases in the folder.
  void finish() const;

 private:
  std::filesystem::path image_path(const std::string& name, std::size_t channel) const;
  std::filesystem::path label_path(const std::string& name) const;

  std::filesystem::path folder_;
  std::string name_;
  std::vector<std::string> channels_;
  LabelTable labels_;
};

}  // namespace medgen
