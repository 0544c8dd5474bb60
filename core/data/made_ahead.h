// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/data/prefetcher.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace medgen {

/// Makes things by their number, and while one is used those that follow. Whatever is asked for is what `make` gives
/// for it; asking in rising order is what makes it fast. One consumer.
template <typename Item>
class MadeAhead {
 public:
  /// @param make  called from several threads at a time.
  MadeAhead(typename Prefetcher<Item>::Make make, const PrefetchOptions& options)
      : make_(std::move(make)), options_(options) {}

  Item take(std::uint64_t number) {
    if (!ahead_ || number != next_) {
      options_.first = number;
      ahead_.emplace(make_, options_);
      next_ = number;
    }
    Item item = ahead_->next();
    ++next_;
    return item;
  }

 private:
  typename Prefetcher<Item>::Make make_;
  PrefetchOptions options_;
  std::optional<Prefetcher<Item>> ahead_;
  std::uint64_t next_ = 0;
};

}  // namespace medgen
