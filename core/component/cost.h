// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/tensor/tensor.h"

#include <cstdint>
#include <map>
#include <string>

namespace medgen {

/// Shapes of a call's tensors by their names.
using ShapeMap = std::map<std::string, Shape>;

/// What one call costs, as the component predicts it (docs/abi.md, "estimate").
struct CallCost {
  std::uint64_t peak_bytes = 0;     ///< most at a time, besides weights, inputs and outputs; where it computes
  std::uint64_t host_bytes = 0;     ///< most of the host's, beside, where it computes on a device
  std::uint64_t kept_bytes = 0;     ///< held from its first call on; where it computes
  std::uint64_t weights_bytes = 0;  ///< held as long as the object lives; where it computes
  std::uint64_t scratch_bytes = 0;  ///< files in the folder for temporary files
  double flops = 0;
  double flops_per_second = 0;  ///< measured on this machine; 0: unknown
  std::string precision;        ///< what it computes in; empty: not told
  std::string note;             ///< how it goes about it, for people; may be empty
  ShapeMap outputs;             ///< float32, allocated by the host; empty: not told
};

}  // namespace medgen
