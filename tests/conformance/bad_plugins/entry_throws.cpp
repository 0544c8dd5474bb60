// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

struct medgen_query;
struct medgen_plugin;

// Declared as the ABI forbids it, so that the exception gets out.
extern "C" __attribute__((visibility("default"))) const medgen_plugin* medgen_plugin_v1(const medgen_query*) {
  throw std::runtime_error("thrown by the entry point");
}
