// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/augment/augment.h"
#include "core/augment/crop.h"
#include "core/config/node.h"

#include <cstdint>
#include <optional>

namespace medgen {

/// How patches are cut from the cases, and what happens to them.
struct PatchOptions {
  CropOptions crop;              ///< in the model's orientation
  bool random = false;           ///< as `crop` says, else in the image's middle
  std::int64_t multiple_of = 1;  ///< what a patch's axes have to be for the networks
  std::optional<AugmentOptions> augment;
  std::uint64_t seed = 0;

  /// "crop", "crop_at" and "augment" of a train step, validated. @param labels  of the model, for names.
  /// @throws ConfigError for a name that `labels` lacks, probabilities of more than 1, and as AugmentOptions::read.
  static PatchOptions read(const ConfigNode& step, const LabelTable& labels, std::uint64_t seed);

  bool needs_labels() const { return !crop.label_probability.empty(); }

  /// Whether a case gives the same patch whenever it is drawn.
  bool lie_still() const { return !random && !augment; }
};

/// Whether the networks of a train step can take its "crop". @throws ConfigError at it
void check_crop(const ConfigNode& step, const PatchOptions& patches, std::int64_t multiple_of);

}  // namespace medgen
