// SPDX-License-Identifier: Apache-2.0
// check_conformance MANIFEST: runs all checks on one plugin, prints a line for each, exits with 1 when one failed.

#include "core/plugin/checks.h"

#include <algorithm>
#include <cstdio>

namespace {

void print(const medgen::CheckResult& result) {
  static constexpr const char* kWords[] = {"pass", "FAIL", "skip"};
  std::printf("%s  %s%s%s\n", kWords[static_cast<int>(result.status)], result.name.c_str(),
              result.detail.empty() ? "" : ": ", result.detail.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: check_conformance MANIFEST\n");
    return 2;
  }
  const auto results = medgen::check_plugin(argv[1], print);
  const bool failed = std::any_of(results.begin(), results.end(), [](const medgen::CheckResult& result) {
    return result.status == medgen::CheckStatus::Fail;
  });
  return failed ? 1 : 0;
}
