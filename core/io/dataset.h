// SPDX-License-Identifier: Apache-2.0
// Folders of images and label maps, as the Medical Segmentation Decathlon and nnU-Net keep them, or plain ones.
#pragma once

#include "core/config/node.h"
#include "core/volume/labels.h"
#include "core/volume/volume.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

struct Case {
  std::string name;
  std::vector<std::filesystem::path> images;  ///< one file a channel, or one file with all of them; none: a map alone
  std::optional<std::filesystem::path> label;
};

struct Dataset {
  std::string name;
  std::filesystem::path description;  ///< the dataset.json; empty where there is none
  std::vector<std::string> channels;  ///< names, in the order of Case::images
  LabelTable labels;                  ///< empty for a plain folder
  std::vector<Case> cases;            ///< sorted by name, at least one
  std::vector<std::string> warnings;
};

/// A folder with dataset.json (or that file): the Decathlon's ("training": [{"image", "label"}], "labels": {"1":
/// name}; images of one name in a folder each are named by that folder), or nnU-Net v2's ("channel_names", "labels":
/// {name: 1}, imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz); of nnU-Net v1 the list is the Decathlon's and the files
/// are nnU-Net's. Without dataset.json: images/ and labels/ with files of the same name, or one of them alone. Names
/// that begin with "._" or
/// "." are passed over.
/// @throws DataError that lists every file that is missing or without its partner, with file:line:column for
/// dataset.json.
Dataset open_dataset(const std::filesystem::path& path);

/// Something that is wrong with a data set.
struct CaseProblem {
  std::string name;  ///< of the case; empty where it helps nobody to leave one out
  std::string text;
};

struct FoundCases {
  Dataset dataset;                    ///< cases with problems too; perhaps none
  std::vector<CaseProblem> problems;  ///< what `open_dataset` would throw
};

/// As `open_dataset`, for going on without the cases whose files are missing or without their partner: they stay in the
/// data set, and are told. @throws DataError of all other problems
FoundCases open_with_bad_cases(const std::filesystem::path& path);

/// Cases from two lists of files, paired by name without extension ("_image" and "_label" at its end do not count).
/// Without labels the cases have images only. @throws DataError that lists every file without partner and every name
/// that comes twice.
Dataset pair_files(const std::vector<std::filesystem::path>& images, const std::vector<std::filesystem::path>& labels);

/// What is there, whatever its state: for looking at data, where `open_dataset` is for using it.
/// One path as for `open_dataset`, or a folder of volumes (paired as by `pair_files`: those ending in "_label" are
/// label maps), or volume files.
/// @throws DataError when a path does not exist, several are not all volume files, or dataset.json cannot be
/// understood.
FoundCases find_cases(const std::vector<std::filesystem::path>& paths);

/// {"1": "liver"} or {"liver": 1}; regions ({"tumour": [1, 2]}) name no single id and are warned of.
/// @throws ConfigError, or DataError as LabelTable::add.
LabelTable read_label_table(const ConfigNode& labels, std::vector<std::string>& warnings);

/// Where an nnU-Net v2 folder keeps a case of one channel, relative to the folder.
struct NnUnetFiles {
  std::string image;  ///< imagesTr/NAME_0000.nii.gz
  std::string label;  ///< labelsTr/NAME.nii.gz
};

NnUnetFiles nnunet_files(const std::string& name);

/// dataset.json of an nnU-Net v2 folder. Label ids are written as they are, though nnU-Net itself trains on consecutive
/// ones only. @throws RuntimeError when it cannot be written; then an older one is untouched.
void write_nnunet_description(const std::filesystem::path& folder, const std::string& channel, const LabelTable& labels,
                              std::size_t cases);

}  // namespace medgen
