// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace medgen::cli {

/// The instruction sets that our kernels and LibTorch's profit from, as far as this CPU has them: "avx2",
/// "avx512_bf16", "amx_bf16" ...
std::vector<std::string> cpu_features();
std::string cpu_name();

}  // namespace medgen::cli
