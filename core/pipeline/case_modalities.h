// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/augment/augment.h"
#include "core/config/node.h"
#include "core/pipeline/contract.h"

#include <optional>
#include <string>
#include <vector>

namespace medgen {

/// Cases of other modalities than a compressor's data contract is for, which it learns beside them: MAISI's autoencoder
/// learns from CT and MR.
class CaseModalities {
 public:
  struct Modality {
    std::string name;
    ConfigNode node;
    std::vector<std::string> cases;  ///< names, with * and ?
    IntensityRule intensity;
    std::optional<AugmentOptions> augment;  ///< nothing: as the step says
  };

  /// "modalities" of a train step. @throws ConfigError as IntensityRule::read and AugmentOptions::read
  static CaseModalities read(const ConfigNode& step, const LabelTable& labels);

  /// That of a case; null: the contract's.
  const Modality* of(const std::string& name) const;

  /// @throws ConfigError for a case of two modalities, and for a modality of no case.
  void check(const std::vector<std::string>& names) const;

  const std::vector<Modality>& all() const { return modalities_; }

 private:
  std::vector<Modality> modalities_;
};

}  // namespace medgen
