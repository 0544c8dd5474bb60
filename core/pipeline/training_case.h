// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/augment/crop.h"
#include "core/data/case_cache.h"
#include "core/io/dataset.h"
#include "core/pipeline/case_modalities.h"
#include "core/pipeline/channel_choice.h"
#include "core/pipeline/contract.h"
#include "core/pipeline/label_names.h"
#include "core/pipeline/target_spacing.h"
#include "core/volume/body.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// An image and its label map as a model sees them.
struct TrainingCase {
  Volume image;                 ///< oriented, scaled, float32; of a model that makes label maps the label ids
  std::optional<Volume> label;  ///< on its grid, int32
  std::optional<LabelIndex> index;
  std::string identity;               ///< of what the files hold: name, grids, voxels
  std::vector<std::string> warnings;  ///< what is odd about it, but usable; without its name

  std::size_t bytes() const;
};

struct CaseOptions {
  DataContract contract;
  std::string contract_text;           ///< all of it: part of the key in the cache
  LabelNames labels;                   ///< what those of the data are in the model
  CaseModalities modalities;           ///< whose images are scaled by another rule than the contract's
  std::int64_t channels = 0;           ///< that an image has to have; 0: any
  std::optional<std::size_t> channel;  ///< the one that is taken of an image's channels, or of a case's images
  bool needs_labels = false;
  bool index_labels = false;         ///< patches are cut round labels
  CropOptions crop;                  ///< the size of patches
  std::int64_t multiple_of = 1;      ///< what the axes of a patch have to be for the networks
  std::optional<BodyRule> body;      ///< what label maps get
  std::shared_ptr<CaseCache> cache;  ///< may be null
  TargetSpacing spacing;
};

/// Reads cases, or finds them in the cache. Thread: any.
class CaseReader {
 public:
  explicit CaseReader(CaseOptions options) : options_(std::move(options)) {}

  /// @throws DataError that names the case and what is wrong with it.
  TrainingCase read(const Case& entry) const;

 private:
  Volume read_image(const Case& entry) const;
  TrainingCase read_files(const Case& entry) const;
  TrainingCase read_map(const Case& entry) const;
  Volume read_label(const Case& entry, const Volume& image, TrainingCase& loaded) const;

  CaseOptions options_;
};

}  // namespace medgen
