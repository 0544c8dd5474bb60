// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <medgen/sdk/draft/train.hpp>

#include <cstdint>
#include <vector>

namespace medgen::support {

/// The gradients of the parameters that train, summed over all processes while the backward pass still goes on: the
/// parameters fall into buckets, last ones first, as the backward pass reaches them, and a bucket is on its way as soon
/// as it is full. Buckets leave in their order, so that all processes agree on it.
class GradientBuckets {
 public:
  static constexpr std::int64_t kBytes = 25 << 20;  ///< of a bucket, at most, unless one parameter has more

  explicit GradientBuckets(const std::vector<at::Tensor>& parameters, std::int64_t bytes = kBytes);
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  /// The backward pass of this process's share. Afterwards every parameter that has a gradient in any process holds the
  /// sum, also of what was gathered before. The first pass counts how often each gradient is added to, and sends when
  /// it is over.
  /// @param overlapped  false: all of them leave when the pass is over, however often each is added to.
  void backward(const at::Tensor& loss, const sdk::Gradients& exchange, bool overlapped = true);

  std::size_t size() const { return buckets_.size(); }

 private:
  class Hook;
  class Armed;

  struct Slot {
    at::Tensor parameter;
    std::size_t bucket;
    std::int64_t offset;
    std::int64_t expected = -1;  ///< additions in a pass; -1 = not known yet
    std::int64_t additions = 0;
    bool filled = false;
  };

  struct Bucket {
    std::vector<std::size_t> slots;
    std::int64_t values = 0;
    at::Tensor memory;  ///< values, then for each slot whether it has a gradient
    std::size_t filled = 0;
    bool sent = false;
  };

  void prepare();
  void added(std::size_t slot);
  void fill(Slot& slot);
  void send(Bucket& bucket);
  void hand_out();
  /// Where the slot's gradient lies in its bucket, in the parameter's own order.
  at::Tensor place_of(const Slot& slot) const;

  std::vector<Slot> slots_;
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;  ///< to be sent
  const sdk::Gradients* exchange_ = nullptr;
  double share_ = 1;
  bool overlapped_ = true;
};

}  // namespace medgen::support
