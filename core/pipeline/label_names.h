// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/io/dataset.h"
#include "core/volume/labels.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace medgen {

/// "labels" of a train step: the model's id for labels of the data set, which are given by name or id.
using SaidLabels = std::map<std::string, std::int64_t>;

/// What the labels of a data set are in a model: the same names mean the same, and the step may say more. Where the
/// data set or the model has no names, ids mean what they are.
class LabelNames {
 public:
  LabelNames() = default;
  /// @throws DataError naming the data set for a label that the model lacks, and for one that the step says and the
  /// data set lacks.
  LabelNames(const Dataset& dataset, const LabelTable& model, const SaidLabels& said);

  /// A label map with the model's ids; itself where they are the same. @param name  of its case, for messages
  /// @throws DataError for ids that the data set does not name
  Volume in_model(const Volume& labels, std::string_view name) const;

  /// For keys of caches.
  std::string text() const;

 private:
  LabelMapping mapping_;
  std::filesystem::path description_;  ///< what names the data set's ids; empty: others mean what they are
};

}  // namespace medgen
