// SPDX-License-Identifier: Apache-2.0
#include "core/cli/machine.h"

#include <fmt/format.h>

#include <sched.h>
#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

namespace medgen::cli {
namespace {

/// The value of a "key : value" line, "" when there is none.
std::string proc_value(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.find_first_not_of(" \t", key.size()) != colon) continue;
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::uint64_t kibibytes(const std::string& text) {
  std::uint64_t number = 0;
  std::istringstream(text) >> number;
  return number * 1024;
}

/// A number in a file of the control group; the largest one when there is no limit.
std::uint64_t cgroup_number(const char* file) {
  std::uint64_t number = 0;
  return std::ifstream(file) >> number ? number : std::numeric_limits<std::uint64_t>::max();
}

}  // namespace

std::vector<std::string> cpu_features() {
  constexpr std::array kWanted = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"};
  std::vector<std::string> found;
  std::istringstream flags(proc_value("/proc/cpuinfo", "flags"));
  for (std::string flag; flags >> flag;) {
    if (std::find(kWanted.begin(), kWanted.end(), flag) != kWanted.end()) found.push_back(flag);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string cpu_name() {
  return proc_value("/proc/cpuinfo", "model name");
}

int usable_cores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

Memory memory() {
  Memory memory{kibibytes(proc_value("/proc/meminfo", "MemTotal")),
                kibibytes(proc_value("/proc/meminfo", "MemAvailable"))};
  const std::uint64_t limit = cgroup_number("/sys/fs/cgroup/memory.max");
  if (limit >= memory.total) return memory;
  const std::uint64_t used = std::min(cgroup_number("/sys/fs/cgroup/memory.current"), limit);
  return {limit, std::min(memory.available, limit - used)};
}

}  // namespace medgen::cli
