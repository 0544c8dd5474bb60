// SPDX-License-Identifier: Apache-2.0
// `medgen` and `medgen-run`: the second is `medgen run` under a name of its own.

#include "core/cli/app.h"
#include "core/run/resources.h"

#include <unistd.h>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  medgen::return_freed_memory();
  medgen::yield_idle_cores();
  const std::string program = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "medgen";
  const int code = medgen::cli::main(program, {argv + (argc > 0 ? 1 : 0), argv + argc});
  // Plugins stay mapped, and the exit handlers of the runtimes they brought along may depend on each other's order.
  std::fflush(nullptr);
  _exit(code);
}
