// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/cuda_driver.h"

#include "core/base/error.h"

#include <dlfcn.h>

namespace medgen {

CudaDriver cuda_driver() {
  void* driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // never closed: drivers do not survive it
  if (driver == nullptr) return {0, "no CUDA driver (libcuda.so.1)"};
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver, "cuInit"));
  const auto count = reinterpret_cast<int (*)(int*)>(::dlsym(driver, "cuDeviceGetCount"));
  if (init == nullptr || count == nullptr) return {0, "the CUDA driver lacks cuInit"};
  CudaDriver found;
  int status = init(0);
  if (status == 0) status = count(&found.devices);
  if (status != 0) return {0, fmt::format("the CUDA driver reports error {}", status)};
  if (found.devices == 0) found.note = "no CUDA device";
  return found;
}

void require_device(const medgen_device_t& device) {
  if (device.type != MEDGEN_DEVICE_CUDA) return;
  const CudaDriver driver = cuda_driver();
  if (device.index >= 0 && device.index < driver.devices) return;
  throw DeviceError(
      "cuda:{} is not there: {}; compute on the \"cpu\" (runtime.device, --device)", device.index,
      driver.devices > 0 ? fmt::format("this machine has {} CUDA device(s)", driver.devices) : driver.note);
}

}  // namespace medgen
