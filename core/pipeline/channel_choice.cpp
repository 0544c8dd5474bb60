// SPDX-License-Identifier: Apache-2.0
#include "core/pipeline/channel_choice.h"

#include "core/base/error.h"
#include "core/base/text.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace medgen {

std::optional<std::size_t> ChannelChoice::number(const Dataset& dataset) const {
  if (!key_) return std::nullopt;
  if (key_->is_number()) return key_->as<std::size_t>();
  const auto name = key_->as<std::string>();
  const auto found = std::find(dataset.channels.begin(), dataset.channels.end(), name);
  if (found == dataset.channels.end())
    key_->fail("names no channel of the data set{}; it has: {}{}", did_you_mean(name, dataset.channels),
               fmt::join(dataset.channels, ", "), inherited_);
  return static_cast<std::size_t>(found - dataset.channels.begin());
}

const std::filesystem::path& image_of(const Case& entry, std::optional<std::size_t> channel) {
  if (entry.images.empty()) throw DataError("{} has no image, which this training needs", entry.name);
  if (entry.images.size() == 1) return entry.images.front();
  if (!channel)
    throw DataError("{} has {} images, one a channel; \"channel\" of the step says which one is learnt from",
                    entry.name, entry.images.size());
  if (*channel >= entry.images.size())
    throw DataError("{}: \"channel\" is {}, but the case has {}, counted from 0", entry.name, *channel,
                    entry.images.size());
  return entry.images[*channel];
}

}  // namespace medgen
