// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"
#include "core/data/prefetcher.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace medgen {

/// Makes things by their number, and while one is used those that follow. Whatever is asked for is what `make` gives
/// for it; asking in rising order is what makes it fast. Where several processes share the work, only those of the
/// share are made ahead. One consumer.
template <typename Item>
class MadeAhead {
 public:
  /// @param make  called from several threads at a time.
  MadeAhead(typename Prefetcher<Item>::Make make, const PrefetchOptions& options, const BatchShare& share = {})
      : make_(std::move(make)), options_(options), share_(share) {}

  Item take(std::uint64_t row) {
    if (!share_.has(row)) return make_(row);
    const std::uint64_t number = share_.own_number(row);
    if (!ahead_ || number != next_) {
      options_.first = number;
      ahead_.emplace([this](std::uint64_t own) { return make_(share_.row_of(own)); }, options_);
      next_ = number;
    }
    Item item = ahead_->next();
    ++next_;
    return item;
  }

 private:
  typename Prefetcher<Item>::Make make_;
  PrefetchOptions options_;
  BatchShare share_;
  std::optional<Prefetcher<Item>> ahead_;
  std::uint64_t next_ = 0;
};

}  // namespace medgen
