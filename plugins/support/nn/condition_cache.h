// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace medgen::nn {

/// What was made of the conditions seen last. A condition stays the same over all steps of a run, and so does what a
/// network makes of it alone.
/// Thread: any.
class ConditionCache {
 public:
  using Results = std::vector<at::Tensor>;

  static constexpr std::size_t kMost = 4;  ///< conditions that are kept, the latest among them

  /// @param most_bytes  of conditions, with what was made of them, that are kept beside the latest
  explicit ConditionCache(std::size_t most_bytes) : most_bytes_(most_bytes) {}

  /// The most bytes that are kept of conditions of `entry_bytes` each, with what is made of them.
  static std::size_t bytes_kept(std::size_t entry_bytes, std::size_t most_bytes);

  /// What `make` makes of `condition` and `weights`, for reading; found again when the same values were seen and no
  /// weight has changed since. With gradients, and while a device records, nothing is kept, nor looked up.
  Results get(const at::Tensor& condition, const std::vector<at::Tensor>& weights,
              const std::function<Results()>& make);

 private:
  struct Entry {
    at::Tensor condition;
    Results results;

    std::size_t bytes() const;
  };

  struct Weight {
    at::Tensor value;
    std::int64_t version;
  };

  bool same_weights(const std::vector<at::Tensor>& weights) const;
  void make_room();

  std::size_t most_bytes_;
  std::mutex mutex_;
  std::vector<Weight> weights_;
  std::vector<Entry> entries_;  // the latest last
};

}  // namespace medgen::nn
