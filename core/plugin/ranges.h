// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/base/trace.h"
#include "core/plugin/services.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace medgen {

/// Ranges that plugins open and close on this thread: range_push and range_pop of medgen_host_t. A pop without its push
/// is left out. @{
void push_range(PluginServices& services, std::string_view name);
void pop_range(PluginServices& services) noexcept;

/// @}

/// The range of one call into a plugin. Ranges that the plugin leaves open are closed with it, and those of the caller
/// are out of its reach, so that the trace nests whatever the plugin does; what it did wrong is noted
/// (HostServices::note_range_defect).
class CallRange {
 public:
  CallRange(PluginServices& services, std::string name);
  CallRange(const CallRange&) = delete;
  CallRange& operator=(const CallRange&) = delete;
  ~CallRange();

 private:
  PluginServices& services_;
  std::string name_;
  std::size_t outer_floor_;
  std::size_t outer_strays_;
  TraceRange range_;
};

}  // namespace medgen
