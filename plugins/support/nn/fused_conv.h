// SPDX-License-Identifier: Apache-2.0
// oneDNN's convolutions as LibTorch offers them to its compiler: with weights packed beforehand, and with a result that
// is added to a tensor in place, rounded once. The ordinary operator packs at each call, and leaves its result in fresh
// memory to be read again.
#pragma once

#include <ATen/core/Tensor.h>

#include <mutex>
#include <vector>

namespace medgen::nn {

/// Whether fused_conv and fused_conv_add take x: on the CPU, without gradients, of a type that oneDNN computes with.
bool can_fuse_conv(const at::Tensor& x);

/// The convolution of x, channels-last; `weight` plain or packed.
at::Tensor fused_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                      at::IntArrayRef stride);

/// y += the convolution of x. y is channels-last and of the type of x; it may be part of a larger array.
void fused_conv_add(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                    at::IntArrayRef stride, const at::Tensor& y);

/// As fused_conv, transposed: `weight` (in, out, ...).
at::Tensor fused_conv_transpose(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                                at::IntArrayRef padding, at::IntArrayRef stride);

/// What is made of a weight once and stays right until the weight changes.
/// Thread: any.
class PreparedWeight {
 public:
  /// The tensor that `prepare` made of `weight` for activations of type `dtype`; made anew when either changed.
  template <typename Prepare>
  at::Tensor of(const at::Tensor& weight, at::ScalarType dtype, const Prepare& prepare) const {
    const std::lock_guard lock(mutex_);
    if (!source_.is_same(weight) || version_ != weight._version() || dtype_ != dtype) {
      prepared_ = prepare();
      source_ = weight;
      version_ = weight._version();
      dtype_ = dtype;
    }
    return prepared_;
  }

 private:
  mutable std::mutex mutex_;
  mutable at::Tensor source_;  // held, so that its address stays its own
  mutable uint32_t version_ = 0;
  mutable at::ScalarType dtype_ = at::kFloat;
  mutable at::Tensor prepared_;
};

/// `weight` packed for inputs like x; right for any other input as well.
at::Tensor packed_weight(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                         const at::Tensor& x);
at::Tensor packed_transposed_weight(const at::Tensor& weight, at::IntArrayRef padding, at::IntArrayRef stride,
                                    const at::Tensor& x);

/// The convolution of few voxels in float32, the same to the bit for any number of threads: for another number oneDNN
/// takes another kernel, whose sums differ in the last digit. Here each part of the result's channels has one thread.
/// Thread: any.
class PartedConv {
 public:
  explicit PartedConv(int64_t out_channels);

  /// x channels-last, `weight` (out, in, ...) plain, `bias` may be undefined.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                     at::IntArrayRef stride) const;

 private:
  std::vector<PreparedWeight> packed_;
};

}  // namespace medgen::nn
