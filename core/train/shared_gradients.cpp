// SPDX-License-Identifier: Apache-2.0
#include "core/train/shared_gradients.h"

#include "core/base/error.h"

#include <chrono>
#include <thread>

namespace medgen {
namespace {

/// The values of a dense float32 tensor.
std::span<float> values_of(const medgen_tensor_t& tensor) {
  const bool floats = tensor.dtype.code == MEDGEN_DTYPE_FLOAT && tensor.dtype.bits == 32 && tensor.dtype.lanes == 1;
  if (!floats) throw DataError("gradients are summed in a float32 tensor");
  const auto count = static_cast<std::size_t>(element_count(checked_shape(tensor)));
  if (!is_dense(tensor)) throw DataError("gradients are summed in a dense tensor");
  return {reinterpret_cast<float*>(static_cast<std::byte*>(tensor.data) + tensor.byte_offset), count};
}

}  // namespace

void SharedGradients::begin_sum(const medgen_tensor_t& tensor, void* stream) {
  const std::span<float> values = values_of(tensor);
  if (tensor.device.type == MEDGEN_DEVICE_CPU) {
    group_.begin_sum(values);
  } else {
    on_device_ = &device_sums(group_, tensor.device.index);
    if (!on_device_->begin_sum(values.data(), values.size(), stream))
      throw DeviceError("the exchange of gradients failed: {}", on_device_->problem());
  }
  summed_ += values.size();
  waiting_ = true;
}

void SharedGradients::finish() {
  group_.finish();
  if (on_device_ != nullptr) wait_for_device();
  waiting_ = false;
}

/// Looks at times whether another process has failed, which would never be heard of on the GPU.
void SharedGradients::wait_for_device() {
  for (int state = on_device_->test(); state != 1; state = on_device_->test()) {
    if (state < 0) throw DeviceError("the exchange of gradients failed: {}", on_device_->problem());
    if (group_.failure()) {
      on_device_->abandon();
      throw Cancelled("cancelled while waiting for the other processes of the job");
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

void SharedGradients::require_used() const {
  if (summed_ == 0) {
    throw PluginError(
        "this component cannot be trained by several processes: its training exchanges no gradients; start one");
  }
  if (waiting_) throw PluginError("a training step ended before its gradients had arrived");
}

}  // namespace medgen
