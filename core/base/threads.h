// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "kernels/launch.h"

#include <cstdint>

namespace medgen {

/// Cores that this process may use.
int usable_cores();

/// Runs part(arg, from, to) for disjoint parts of [0, n) on at most `threads` threads, this one included, and waits;
/// 0: as many as the machine has. No part is much smaller than `grain`. `part` does not throw.
void run_in_parts(unsigned threads, std::int64_t n, std::int64_t grain, kernels::Cpu::Part part, const void* arg);

/// Where core runs its kernels.
inline kernels::Cpu on_threads(unsigned threads) {
  return {run_in_parts, threads};
}

}  // namespace medgen
