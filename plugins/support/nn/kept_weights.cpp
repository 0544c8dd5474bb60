// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/kept_weights.h"

#include "plugins/support/nn/large_memory.h"

#include <algorithm>

namespace medgen::nn {
namespace {

constexpr std::int64_t kMost = std::int64_t{384} << 20;

thread_local KeptWeights* weights_in_use = nullptr;

}  // namespace

std::int64_t KeptWeights::most_bytes(std::uint64_t memory_budget) {
  if (memory_budget == 0) return kMost;
  return static_cast<std::int64_t>(std::min<std::uint64_t>(memory_budget / 4, kMost));
}

std::int64_t KeptWeights::bytes_of(std::int64_t numbers) {
  constexpr auto kPage = static_cast<std::int64_t>(kLargePage);
  return (numbers * static_cast<std::int64_t>(sizeof(float)) + kPage - 1) / kPage * kPage;
}

std::int64_t KeptWeights::bytes() {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

void KeptWeights::forget(const at::Tensor& weight) {
  const auto entry = entries_.find(weight.unsafeGetTensorImpl());
  if (entry == entries_.end()) return;
  bytes_ -= bytes_of(entry->second.values.numel());
  entries_.erase(entry);
}

void KeptWeights::forget_expired() {
  std::erase_if(entries_, [&](const auto& entry) {
    const bool expired = entry.second.source.expired();
    if (expired) bytes_ -= bytes_of(entry.second.values.numel());
    return expired;
  });
}

at::Tensor KeptWeights::get(const at::Tensor& weight, std::int64_t numbers,
                            const std::function<void(const at::Tensor&)>& make) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(weight.unsafeGetTensorImpl());
  if (found != entries_.end()) {
    const Entry& entry = found->second;
    // No other weight comes to lie at its address, which the entry holds.
    if (entry.version == weight._version() && entry.values.numel() == numbers) return entry.values;
    forget(weight);
  }
  if (bytes_ + bytes_of(numbers) > most_bytes_) forget_expired();
  if (bytes_ + bytes_of(numbers) > most_bytes_) return {};
  const at::Tensor values = large_array({numbers}, at::kFloat);
  make(values);
  const auto source = weight.getIntrusivePtr();
  entries_.emplace(source.get(), Entry{c10::weak_intrusive_ptr(source), weight._version(), values});
  bytes_ += bytes_of(numbers);
  return values;
}

KeptWeights::Use::Use(KeptWeights& weights) : before_(weights_in_use) {
  weights_in_use = &weights;
}

KeptWeights::Use::~Use() {
  weights_in_use = before_;
}

KeptWeights* KeptWeights::in_use() {
  return weights_in_use;
}

}  // namespace medgen::nn
