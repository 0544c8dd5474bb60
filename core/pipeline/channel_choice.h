// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/config/node.h"
#include "core/io/dataset.h"

#include <cstddef>
#include <optional>
#include <string>

namespace medgen {

/// "channel" of a train step: the one of a case's channels that is learnt from.
class ChannelChoice {
 public:
  ChannelChoice() = default;  ///< nothing is said

  /// @param key  a name or a number. @param inherited  what messages say of a key that another step has
  ChannelChoice(ConfigNode key, std::string inherited) : key_(std::move(key)), inherited_(std::move(inherited)) {}

  /// Counted from 0; nothing where nothing is said. @throws ConfigError for a name that the data set does not have.
  std::optional<std::size_t> number(const Dataset& dataset) const;

 private:
  std::optional<ConfigNode> key_;
  std::string inherited_;
};

/// The file of a case that is learnt from. @throws DataError where there is none, or it is not told which
const std::filesystem::path& image_of(const Case& entry, std::optional<std::size_t> channel);

}  // namespace medgen
