// SPDX-License-Identifier: Apache-2.0
#include "core/cli/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

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

}  // namespace medgen::cli
