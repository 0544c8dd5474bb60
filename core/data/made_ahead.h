// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/share.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace medgen {

struct PrefetchOptions {
  unsigned threads = 1;   ///< 0: things are made when they are asked for
  std::size_t ahead = 2;  ///< things that may be ready or in the making beyond the one asked for, at least 1
};

/// Makes things by their number, and while one is used those that will be asked for after it. Whatever is asked for is
/// what `make` gives for it, which is a function of the number alone, or what it throws, no earlier; asking in rising
/// order is what makes it fast, and numbers may be left out. Where several processes share the work, only those of the
/// share are made ahead. One consumer.
template <typename Item>
class MadeAhead {
 public:
  /// Called from several threads at a time.
  using Make = std::function<Item(std::uint64_t number)>;
  /// Whether a number may still be asked for, as the consumer sees it; called by `take` alone.
  using Wanted = std::function<bool(std::uint64_t number)>;

  explicit MadeAhead(Make make, const PrefetchOptions& options = {}, const BatchShare& share = {}, Wanted wanted = {})
      : make_(std::move(make)), wanted_(std::move(wanted)), options_(options), share_(share) {
    options_.ahead = std::max<std::size_t>(1, options_.ahead);
  }

  /// Waits for the things in the making; what is ready is dropped.
  ~MadeAhead() {
    for (std::jthread& worker : team_) worker.request_stop();
    team_.clear();
  }

  MadeAhead(const MadeAhead&) = delete;
  MadeAhead& operator=(const MadeAhead&) = delete;

  Item take(std::uint64_t number) {
    if (options_.threads == 0 || !share_.has(number)) return make_(number);
    const std::vector<std::uint64_t> numbers = expected(number);
    std::unique_lock lock(mutex_);
    order(numbers);
    changed_.wait(lock, [&] { return things_.at(number).made(); });
    Thing thing = std::move(things_.extract(number).mapped());
    lock.unlock();
    if (thing.failure) std::rethrow_exception(thing.failure);
    return std::move(*thing.item);
  }

 private:
  struct Thing {
    bool begun = false;
    std::optional<Item> item;
    std::exception_ptr failure;

    bool made() const { return item.has_value() || failure; }
  };

  /// The number and those that will be asked for after it, rising.
  std::vector<std::uint64_t> expected(std::uint64_t number) const {
    constexpr std::uint64_t kFarthest = 256;  // looking for what is wanted ends, also where nothing is
    std::vector<std::uint64_t> numbers{number};
    const std::uint64_t own = share_.own_number(number);
    for (std::uint64_t k = own + 1; numbers.size() <= options_.ahead && k <= own + kFarthest; ++k) {
      const std::uint64_t next = share_.row_of(k);
      if (!wanted_ || wanted_(next)) numbers.push_back(next);
    }
    return numbers;
  }

  /// Keeps what there is of these, drops the rest, and has made what is missing.
  void order(const std::vector<std::uint64_t>& numbers) {
    std::erase_if(things_,
                  [&](const auto& thing) { return !std::binary_search(numbers.begin(), numbers.end(), thing.first); });
    for (const std::uint64_t number : numbers) things_.try_emplace(number);
    while (team_.size() < options_.threads) team_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    changed_.notify_all();
  }

  Thing made(std::uint64_t number) const {
    try {
      return {true, make_(number), nullptr};
    } catch (...) {
      return {true, std::nullopt, std::current_exception()};
    }
  }

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    auto next = things_.end();
    const auto open = [&] {
      next = std::find_if(things_.begin(), things_.end(), [](const auto& thing) { return !thing.second.begun; });
      return next != things_.end();
    };
    while (changed_.wait(lock, stop, open) && !stop.stop_requested()) {
      const std::uint64_t number = next->first;
      next->second.begun = true;
      lock.unlock();
      Thing thing = made(number);
      lock.lock();
      // It may have been dropped meanwhile, and even been made anew.
      const auto slot = things_.find(number);
      if (slot != things_.end() && !slot->second.made()) slot->second = std::move(thing);
      changed_.notify_all();
    }
  }

  Make make_;
  Wanted wanted_;
  PrefetchOptions options_;
  BatchShare share_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Thing> things_;  ///< asked for, and ahead
  std::vector<std::jthread> team_;
};

}  // namespace medgen
