// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <medgen/abi/tensor.h>

#include <string>

namespace medgen {

/// What the CUDA driver of this machine offers; asked without linking it.
struct CudaDriver {
  int devices = 0;
  std::string note;  ///< why there are none
};

CudaDriver cuda_driver();

/// @throws DeviceError when components cannot compute there: no driver, or no device of that number.
void require_device(const medgen_device_t& device);

}  // namespace medgen
