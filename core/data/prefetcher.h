// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/error.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace medgen {

struct PrefetchOptions {
  unsigned threads = 1;   ///< 0: batches are made when they are asked for
  std::size_t ahead = 2;  ///< batches that may be ready or in the making beyond the one asked for, at least 1
  std::uint64_t first = 0;
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();  ///< one past the last
};

/// Makes batches `first`, `first` + 1 ... ahead of their use. A batch is a function of its number alone, so that
/// threads and their speed change nothing; `next` gives them in order. What `make` throws comes out of `next` at the
/// batch it belongs to, as it was thrown; after that every `next` throws it again. One consumer.
template <typename Batch>
class Prefetcher {
 public:
  /// Called from several threads at a time, each with another number.
  using Make = std::function<Batch(std::uint64_t number)>;

  explicit Prefetcher(Make make, const PrefetchOptions& options = {})
      : make_(std::move(make)), options_(options), consumed_(options.first), begun_(options.first) {
    options_.ahead = std::max<std::size_t>(1, options_.ahead);
    for (unsigned i = 0; i < options_.threads; ++i) {
      team_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }
  }

  /// Waits for the batches in the making; what is ready is dropped.
  ~Prefetcher() {
    for (std::jthread& worker : team_) worker.request_stop();
    team_.clear();
  }

  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  Batch next() {
    check(consumed_ < options_.end, "no batch is asked for beyond the last");
    if (options_.threads == 0) {
      Batch batch = make_(consumed_);
      ++consumed_;
      return batch;
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_.contains(consumed_); });
    Result& result = ready_.at(consumed_);
    if (result.failure) std::rethrow_exception(result.failure);
    Batch batch = std::move(*result.batch);
    ready_.erase(consumed_++);
    changed_.notify_all();
    return batch;
  }

 private:
  struct Result {
    std::optional<Batch> batch;
    std::exception_ptr failure;
  };

  Result made(std::uint64_t number) const {
    try {
      return {make_(number), nullptr};
    } catch (...) {
      return {std::nullopt, std::current_exception()};
    }
  }

  void work(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const auto may_begin = [this] { return begun_ < options_.end && begun_ - consumed_ < options_.ahead; };
    while (changed_.wait(lock, stop, may_begin)) {
      if (stop.stop_requested()) return;
      const std::uint64_t number = begun_++;
      lock.unlock();
      Result result = made(number);
      lock.lock();
      ready_.emplace(number, std::move(result));
      changed_.notify_all();
    }
  }

  Make make_;
  PrefetchOptions options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Result> ready_;
  std::uint64_t consumed_;  ///< the next that is asked for
  std::uint64_t begun_;     ///< the next that nobody makes yet
  std::vector<std::jthread> team_;
};

}  // namespace medgen
