// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/training/gradient_buckets.h"

#include "plugins/support/bridge.h"
#include "plugins/support/error.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>

namespace medgen::support {
namespace {

/// Buckets of small networks are small, so that there is something to overlap.
std::int64_t bucket_values(const std::vector<at::Tensor>& parameters, std::int64_t bytes) {
  constexpr std::int64_t kLeast = 1 << 18;
  std::int64_t all = 0;
  for (const at::Tensor& parameter : parameters) all += parameter.numel();
  return std::min(bytes / 4, std::max(kLeast, all / 8));
}

}  // namespace

class GradientBuckets::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientBuckets& buckets, std::size_t slot) : buckets_(buckets), slot_(slot) {}

  void operator()(const at::Tensor& /*parameter*/) override { buckets_.added(slot_); }

 private:
  GradientBuckets& buckets_;
  std::size_t slot_;
};

/// The hooks, for the time of one pass.
class GradientBuckets::Armed {
 public:
  explicit Armed(GradientBuckets& buckets) : buckets_(buckets) {
    for (std::size_t i = 0; i < buckets_.slots_.size(); ++i) {
      torch::autograd::impl::set_post_acc_grad_hooks(buckets_.slots_[i].parameter, std::make_unique<Hook>(buckets_, i));
    }
  }

  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;

  ~Armed() {
    for (const Slot& slot : buckets_.slots_) torch::autograd::impl::set_post_acc_grad_hooks(slot.parameter, nullptr);
  }

 private:
  GradientBuckets& buckets_;
};

GradientBuckets::GradientBuckets(const std::vector<at::Tensor>& parameters, std::int64_t bytes) {
  const std::int64_t most = bucket_values(parameters, bytes);
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if (buckets_.empty() || buckets_.back().values + parameter->numel() > most) buckets_.emplace_back();
    Bucket& bucket = buckets_.back();
    bucket.slots.push_back(slots_.size());
    slots_.push_back({*parameter, buckets_.size() - 1, bucket.values});
    bucket.values += parameter->numel();
  }
}

void GradientBuckets::backward(const at::Tensor& loss, const sdk::Gradients& exchange, bool overlapped) {
  exchange_ = &exchange;
  overlapped_ = overlapped;
  share_ = exchange.share();
  prepare();
  {
    const Armed armed(*this);
    loss.backward();
  }
  for (; next_ < buckets_.size(); ++next_) {
    for (const std::size_t slot : buckets_[next_].slots) fill(slots_[slot]);
    send(buckets_[next_]);
  }
  exchange.finish();
  hand_out();
}

void GradientBuckets::prepare() {
  next_ = 0;
  for (Bucket& bucket : buckets_) {
    bucket.memory.reset();
    bucket.filled = 0;
    bucket.sent = false;
  }
  for (Slot& slot : slots_) {
    slot.additions = 0;
    slot.filled = false;
  }
}

void GradientBuckets::added(std::size_t index) {
  Slot& slot = slots_[index];
  ++slot.additions;
  if (!overlapped_) return;
  if (slot.additions != slot.expected) {
    // Before the bucket leaves, `fill` takes it along.
    require(!buckets_[slot.bucket].sent,
            "a gradient came after its bucket had left: the network is not the same in every step");
    return;
  }
  fill(slot);
  while (next_ < buckets_.size() && buckets_[next_].filled == buckets_[next_].slots.size()) send(buckets_[next_++]);
}

at::Tensor GradientBuckets::place_of(const Slot& slot) const {
  const at::Tensor& parameter = slot.parameter;
  const at::Tensor& memory = buckets_[slot.bucket].memory;
  if (parameter.is_non_overlapping_and_dense())
    return memory.as_strided(parameter.sizes(), parameter.strides(), slot.offset);
  return memory.narrow(0, slot.offset, parameter.numel()).view(parameter.sizes());
}

void GradientBuckets::fill(Slot& slot) {
  const at::NoGradGuard no_grad;
  Bucket& bucket = buckets_[slot.bucket];
  const auto count = static_cast<std::int64_t>(bucket.slots.size());
  if (!bucket.memory.defined())
    bucket.memory = at::empty({bucket.values + count}, slot.parameter.options().dtype(at::kFloat));
  const at::Tensor& gradient = slot.parameter.grad();
  at::Tensor place = place_of(slot);
  if (!slot.filled) {
    if (gradient.defined()) {
      at::mul_out(place, gradient, at::scalar_tensor(share_));
    } else {
      place.zero_();
    }
    const auto number =
        std::find(bucket.slots.begin(), bucket.slots.end(), &slot - slots_.data()) - bucket.slots.begin();
    bucket.memory.narrow(0, bucket.values + number, 1).fill_(gradient.defined() ? 1.0 : 0.0);
    slot.filled = true;
    ++bucket.filled;
  } else if (gradient.defined()) {
    place.add_(gradient, share_);
  }
  // The memory of what has been copied is free for the rest of the pass.
  slot.parameter.mutable_grad().reset();
}

void GradientBuckets::send(Bucket& bucket) {
  for (const std::size_t slot : bucket.slots) {
    if (slots_[slot].parameter.grad().defined()) fill(slots_[slot]);
  }
  bucket.sent = true;
  exchange_->begin_sum(float_view(bucket.memory));
}

void GradientBuckets::hand_out() {
  const at::NoGradGuard no_grad;
  for (Bucket& bucket : buckets_) {
    const auto count = static_cast<std::int64_t>(bucket.slots.size());
    const at::Tensor given = bucket.memory.narrow(0, bucket.values, count).cpu();
    for (std::int64_t i = 0; i < count; ++i) {
      Slot& slot = slots_[bucket.slots[static_cast<std::size_t>(i)]];
      if (given.const_data_ptr<float>()[i] > 0) slot.parameter.mutable_grad() = place_of(slot);
      slot.expected = slot.additions;
    }
    bucket.memory.reset();  // gradients keep it until they are applied
  }
}

}  // namespace medgen::support
