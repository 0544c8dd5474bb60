// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/condition_cache.h"

#include "plugins/support/nn/replay.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace medgen::nn {

bool ConditionCache::same_weights(const std::vector<at::Tensor>& weights) const {
  return std::equal(weights.begin(), weights.end(), weights_.begin(), weights_.end(),
                    [](const at::Tensor& now, const Weight& then) {
                      return now.is_same(then.value) && now._version() == then.version;
                    });
}

std::size_t ConditionCache::Entry::bytes() const {
  std::size_t sum = condition.nbytes();
  for (const at::Tensor& result : results) sum += result.nbytes();
  return sum;
}

void ConditionCache::make_room() {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.bytes();
  while (entries_.size() >= kMost || bytes > most_bytes_) {
    bytes -= entries_.front().bytes();
    entries_.erase(entries_.begin());
  }
}

std::size_t ConditionCache::bytes_kept(std::size_t entry_bytes, std::size_t most_bytes) {
  const std::size_t beside = entry_bytes == 0 ? 0 : std::min(most_bytes / entry_bytes, kMost - 1);
  return entry_bytes * (1 + beside);
}

ConditionCache::Results ConditionCache::get(const at::Tensor& condition, const std::vector<at::Tensor>& weights,
                                            const std::function<Results()>& make) {
  if (at::GradMode::is_enabled() || is_recording()) return make();
  const std::lock_guard lock(mutex_);
  if (!same_weights(weights)) {
    entries_.clear();
    weights_.clear();
    for (const at::Tensor& weight : weights) weights_.push_back({weight, weight._version()});
  }
  const auto hit = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.condition.scalar_type() == condition.scalar_type() && entry.condition.sizes() == condition.sizes() &&
           entry.condition.equal(condition);
  });
  if (hit != entries_.end()) {
    std::rotate(hit, hit + 1, entries_.end());
    return entries_.back().results;
  }
  make_room();
  // A copy: the caller may fill its memory anew.
  entries_.push_back({condition.clone(), make()});
  return entries_.back().results;
}

}  // namespace medgen::nn
