// SPDX-License-Identifier: Apache-2.0
// Work on a CUDA device, by LibTorch's own interfaces to any device: nothing here is linked to CUDA. On the CPU all of
// it is nothing.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>

#include <cstdint>
#include <optional>

namespace medgen::nn {

/// Loads LibTorch's CUDA library, which is not linked because it wants the whole CUDA stack, and tells how many devices
/// it sees. In float32 they compute in float32 from then on, not in TF32. Once for the process. Thread: any.
/// @throws std::runtime_error with the loader's reason when it cannot be loaded
int load_cuda();

/// While it lives, what this thread asks of the device is queued on medgen's own stream, in whose order memory is taken
/// and given back, too.
class DeviceScope {
 public:
  explicit DeviceScope(at::Device device);

 private:
  std::optional<c10::StreamGuard> guard_;
};

/// The tensor on `device`; itself where it is there. From the host it goes through pinned memory, in the order of the
/// current stream, and nobody waits for it.
at::Tensor on_device(const at::Tensor& x, at::Device device);

/// x, of any device, into the host's `out`, converted to its type; returns when it is there. Large arrays go through
/// pinned memory.
void to_host(const at::Tensor& x, const at::Tensor& out);

/// Bytes that are free on a CUDA device.
std::int64_t free_memory(at::Device device);

}  // namespace medgen::nn
