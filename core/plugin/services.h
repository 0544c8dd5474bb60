// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/plugin/host.h"

#include <medgen/abi/host.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace medgen {

class CallFrame;
class PluginServices;

/// What the opaque `medgen_hobj_t*` of medgen_host_t and of medgen_context_t points to. Both lead to the plugin's
/// services, so that a plugin which mixes them up is still served.
struct HostHandle {
  PluginServices* services = nullptr;
  CallFrame* frame = nullptr;  ///< null in medgen_host_t

  medgen_hobj_t* opaque() { return reinterpret_cast<medgen_hobj_t*>(this); }

  static HostHandle& of(medgen_hobj_t* host) { return *reinterpret_cast<HostHandle*>(host); }
};

/// What all plugins of one Host share: options and the log sink. Thread: any.
class HostServices {
 public:
  explicit HostServices(HostOptions options);

  const HostOptions& options() const { return options_; }

  unsigned threads() const { return threads_; }

  /// Where calls and the ranges of plugins are noted, or null.
  Trace* trace() const { return options_.trace; }

  /// A plugin's ranges do not nest; the first is told as a warning.
  void note_range_defect(const std::string& text);
  /// The first one noted, or empty.
  std::string range_defect() const;

  void set_log(LogSink log);
  /// A warning is told once: every batch would repeat it.
  void log(int level, std::string_view message);

 private:
  HostOptions options_;
  unsigned threads_;
  mutable std::mutex log_mutex_;
  std::string range_defect_;
  std::set<std::string, std::less<>> warnings_;  // that have been told
};

/// The service table one plugin gets.
class PluginServices {
 public:
  PluginServices(std::shared_ptr<HostServices> host, std::string plugin_id);
  PluginServices(const PluginServices&) = delete;
  PluginServices& operator=(const PluginServices&) = delete;

  const medgen_host_t* table() const { return &table_; }

  HostServices& host() const { return *host_; }

  const std::string& plugin_id() const { return plugin_id_; }

 private:
  std::shared_ptr<HostServices> host_;
  std::string plugin_id_;
  HostHandle handle_;
  medgen_host_t table_{};
};

/// The text that a plugin gave with its last error on this thread. @{
void set_error_text(std::string_view text) noexcept;
const std::string& error_text();
/// @}

/// Runs fn(arg, 0) ... fn(arg, n - 1) on up to `threads` threads, this one included, and waits. Inside another
/// parallel_for on this thread it runs them here. INTERNAL, with its text set, when one throws; the rest is then left
/// out.
medgen_status_t run_parallel(unsigned threads, std::uint64_t n, void (*fn)(void* arg, std::uint64_t i),
                             void* arg) noexcept;

}  // namespace medgen
