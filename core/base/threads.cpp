// SPDX-License-Identifier: Apache-2.0
#include "core/base/threads.h"

#include <sched.h>
#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

namespace medgen {

int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void run_in_parts(unsigned threads, std::int64_t n, std::int64_t grain, kernels::Cpu::Part part, const void* arg) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t parts =
      std::clamp<std::int64_t>(n / std::max<std::int64_t>(grain, 1), 1, static_cast<std::int64_t>(threads));
  const auto bound = [=](std::int64_t i) { return n / parts * i + n % parts * i / parts; };
  std::vector<std::jthread> others;
  std::int64_t started = 1;
  try {
    for (; started < parts; ++started) others.emplace_back(part, arg, bound(started), bound(started + 1));
  } catch (const std::system_error&) {  // no further thread can be had: this one does the rest
  }
  part(arg, 0, bound(1));
  if (started < parts) part(arg, bound(started), n);
}

}  // namespace medgen
