// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/ranges.h"

#include "core/plugin/abi_text.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

namespace medgen {
namespace {

struct OpenRange {
  std::string name;  // empty when nothing is traced
  Trace::Time begin;
};

/// Of this thread.
struct OpenRanges {
  std::vector<OpenRange> ranges;
  std::size_t floor = 0;   // those below belong to callers
  std::size_t strays = 0;  // pops without a push
};

thread_local OpenRanges open;

}  // namespace

void push_range(PluginServices& services, std::string_view name) {
  const bool traced = services.host().trace() != nullptr;
  open.ranges.push_back(traced ? OpenRange{std::string(name), Trace::now()} : OpenRange{});
  begin_profiler_range(name);
}

void pop_range(PluginServices& services) noexcept {
  if (open.ranges.size() <= open.floor) {
    ++open.strays;
    return;
  }
  end_profiler_range();
  const OpenRange range = std::move(open.ranges.back());
  open.ranges.pop_back();
  Trace* const trace = services.host().trace();
  if (trace == nullptr) return;
  try {
    trace->add(range.name, "layer", range.begin, Trace::now());
  } catch (const std::exception&) {  // no memory for a line of the trace: it goes without
  }
}

CallRange::CallRange(PluginServices& services, std::string name)
    : services_(services),
      name_(std::move(name)),
      outer_floor_(std::exchange(open.floor, open.ranges.size())),
      outer_strays_(std::exchange(open.strays, 0)),
      range_(services.host().trace(), name_, "component") {}

CallRange::~CallRange() {
  const std::size_t left = open.ranges.size() - open.floor;
  while (open.ranges.size() > open.floor) pop_range(services_);
  const std::size_t strays = std::exchange(open.strays, outer_strays_);
  open.floor = outer_floor_;
  if (left == 0 && strays == 0) return;
  try {
    services_.host().note_range_defect(fmt::format(
        "{} leaves {} ranges open and closes {} that it has not opened: every range_push needs one range_pop on the "
        "same thread, in the same call",
        name_, left, strays));
  } catch (const std::exception&) {  // no memory for the note
  }
}

}  // namespace medgen
