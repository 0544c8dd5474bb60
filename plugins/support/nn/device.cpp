// SPDX-License-Identifier: Apache-2.0
#include "plugins/support/nn/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

namespace medgen::nn {
namespace {

/// One for each device and all components: memory that one call gives back is the next one's.
c10::Stream stream_of(at::Device device) {
  static std::mutex mutex;
  static std::map<c10::DeviceIndex, c10::Stream> streams;
  const std::lock_guard lock(mutex);
  const auto known = streams.find(device.index());
  if (known != streams.end()) return known->second;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return streams.emplace(device.index(), guard.getStreamFromGlobalPool(device)).first->second;
}

c10::Stream current_stream(at::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

/// In the order of x.
at::Tensor pinned_like(const at::Tensor& x) {
  return at::empty_like(x, at::TensorOptions().device(at::kCPU).pinned_memory(true));
}

void load(const char* library) {
  if (::dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) != nullptr) return;
  const char* const reason = ::dlerror();
  throw std::runtime_error(reason == nullptr ? std::string(library) + " cannot be loaded" : reason);
}

int load_cuda_once() {
  load("libtorch_cuda.so");
#ifdef MEDGEN_CUDA_KERNELS
  load("medgen-torch-cuda.so");
#endif
  const at::CUDAHooksInterface& cuda = at::detail::getCUDAHooks();
  const int devices = cuda.hasCUDA() ? cuda.getNumGPUs() : 0;
  if (devices == 0) return 0;
  at::Context& context = at::globalContext();
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
  context.setDeterministicCuDNN(true);
  return devices;
}

}  // namespace

int load_cuda() {
  static const int devices = load_cuda_once();
  return devices;
}

DeviceScope::DeviceScope(at::Device device) {
  if (!device.is_cpu()) guard_.emplace(stream_of(device));
}

at::Tensor on_device(const at::Tensor& x, at::Device device) {
  if (x.device() == device) return x;
  if (!x.is_cpu()) return x.to(device);
  const at::Tensor staged = pinned_like(x);
  staged.copy_(x);
  return staged.to(device, /*non_blocking=*/true);
}

void to_host(const at::Tensor& x, const at::Tensor& out) {
  if (x.is_cpu()) {
    out.copy_(x);
    return;
  }
  const at::Tensor narrow = x.to(out.scalar_type());
  const at::Tensor staged = pinned_like(narrow);
  staged.copy_(narrow, /*non_blocking=*/true);
  current_stream(x.device()).synchronize();
  out.copy_(staged);
}

std::int64_t free_memory(at::Device device) {
  return static_cast<std::int64_t>(at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first);
}

}  // namespace medgen::nn
