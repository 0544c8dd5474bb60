// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/pipeline/channel_choice.h"
#include "core/pipeline/contract.h"
#include "core/pipeline/label_names.h"
#include "core/pipeline/target_spacing.h"
#include "core/volume/body.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <vector>

namespace medgen {

/// A train step, the one whose data it takes ("data": "@step"), and so on: the last one's "data" is a folder.
std::vector<ConfigNode> data_line(const ConfigNode& steps, const ConfigNode& step);

/// What a training does to its cases before its model's data contract is applied: "skip_bad",
/// "channel", "resample_mm", "labels" and "body". A key that a step lacks is that of the step whose data it takes.
class Preparation {
 public:
  /// @param line  of the step, as `data_line` gives it
  explicit Preparation(const std::vector<ConfigNode>& line);

  /// "skip_bad": whether cases that cannot be used are left out.
  bool skips_bad() const { return skip_bad_ && skip_bad_->as<bool>(); }

  ChannelChoice channel() const;
  TargetSpacing spacing() const;
  /// @throws ConfigError for a label that the model lacks.
  SaidLabels labels(const DataContract& contract) const;
  /// @throws ConfigError for a label that the model lacks, or a model of other images than CTs.
  std::optional<BodyRule> body(const DataContract& contract) const;

  /// Whether the model takes what comes of it. @throws ConfigError at the key.
  void check(const DataContract& contract) const;

  /// The keys that count, for the record of a training.
  Json json() const;

 private:
  std::string inherited(const ConfigNode& key) const;

  ConfigNode step_;
  std::optional<ConfigNode> skip_bad_, channel_, resample_mm_, labels_, body_;
};

}  // namespace medgen
