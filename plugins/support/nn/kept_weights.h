// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>

namespace medgen::nn {

/// What convolutions make of the weights of one network and want again at its next evaluation, as far as there is room.
/// Thread: any.
class KeptWeights {
 public:
  explicit KeptWeights(std::int64_t most_bytes) : most_bytes_(most_bytes) {}

  /// Of a component: 384 MiB, and no more than a quarter of its budget, if it has one (0: none).
  static std::int64_t most_bytes(std::uint64_t memory_budget);

  /// Of so many numbers, in whole pages.
  static std::int64_t bytes_of(std::int64_t numbers);

  /// What `make` wrote into an array of `numbers` float32 when it was given `weight` last; written anew when the weight
  /// changed, or another number is asked for. Undefined where there is no room.
  at::Tensor get(const at::Tensor& weight, std::int64_t numbers, const std::function<void(const at::Tensor&)>& make);

  std::int64_t most_bytes() const { return most_bytes_; }

  std::int64_t bytes();

  /// As long as one lives, convolutions that this thread begins keep weights here.
  class Use {
   public:
    explicit Use(KeptWeights& weights);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    KeptWeights* before_;
  };

  /// Those that this thread uses; null: none.
  static KeptWeights* in_use();

 private:
  struct Entry {
    c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl> source;
    std::int64_t version;
    at::Tensor values;
  };

  void forget(const at::Tensor& weight);
  void forget_expired();

  std::int64_t most_bytes_;
  std::mutex mutex_;
  std::int64_t bytes_ = 0;
  std::unordered_map<const c10::TensorImpl*, Entry> entries_;
};

}  // namespace medgen::nn
