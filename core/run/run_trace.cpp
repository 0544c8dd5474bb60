// SPDX-License-Identifier: Apache-2.0
#include "core/run/run_trace.h"

#include <exception>

namespace medgen {

RunTrace::RunTrace(const std::filesystem::path& file, std::function<void(std::string_view)> warn)
    : warn_(std::move(warn)) {
  if (!file.empty()) trace_.emplace(file);
}

RunTrace::~RunTrace() {
  try {
    finish();
  } catch (const std::exception& error) {
    warn_(error.what());
  }
}

void RunTrace::finish() {
  if (!trace_ || finished_) return;
  finished_ = true;
  trace_->finish();
}

}  // namespace medgen
