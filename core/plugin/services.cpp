// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/services.h"

#include "core/plugin/abi_text.h"
#include "core/plugin/call_frame.h"
#include "core/plugin/gradients.h"
#include "core/plugin/ranges.h"

#include <medgen/abi/version.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace medgen {
namespace {

thread_local std::string last_error_text;
thread_local bool inside_parallel = false;

constexpr unsigned kMaxThreads = 1024;

const void* host_get_extension(medgen_hobj_t*, const char* id) noexcept {
  return id != nullptr && std::string_view(id) == MEDGEN_GRADIENTS_1 ? &gradients_table() : nullptr;
}

void host_set_error(medgen_hobj_t*, medgen_status_t, medgen_str_t message) noexcept {
  try {
    set_error_text(message_text(message));
  } catch (const std::exception&) {  // no memory for the text: the status alone must do
    set_error_text({});
  }
}

void host_log(medgen_hobj_t* host, std::int32_t level, medgen_str_t message) noexcept {
  if (host == nullptr) return;
  PluginServices& services = *HostHandle::of(host).services;
  const int known = std::clamp<int>(level, MEDGEN_LOG_ERROR, MEDGEN_LOG_DEBUG);
  try {
    services.host().log(known, fmt::format("{}: {}", services.plugin_id(), message_text(message)));
  } catch (...) {  // a log line is not worth failing a call for
  }
}

medgen_status_t host_parallel_for(medgen_hobj_t* host, std::uint64_t n, void (*fn)(void*, std::uint64_t),
                                  void* arg) noexcept {
  if (host == nullptr || fn == nullptr) return MEDGEN_E_INVALID;
  return run_parallel(HostHandle::of(host).services->host().threads(), n, fn, arg);
}

std::uint32_t host_thread_count(medgen_hobj_t* host) noexcept {
  return host == nullptr ? 1 : HostHandle::of(host).services->host().threads();
}

void host_range_push(medgen_hobj_t* host, medgen_str_t name) noexcept {
  if (host == nullptr) return;
  try {
    push_range(*HostHandle::of(host).services, message_text(name));
  } catch (const std::exception&) {  // no memory: the pop that follows is left out as well
  }
}

void host_range_pop(medgen_hobj_t* host) noexcept {
  if (host != nullptr) pop_range(*HostHandle::of(host).services);
}

}  // namespace

HostServices::HostServices(HostOptions options) : options_(std::move(options)) {
  const unsigned wanted =
      options_.threads > 0 ? static_cast<unsigned>(options_.threads) : std::thread::hardware_concurrency();
  threads_ = std::clamp(wanted, 1u, kMaxThreads);
}

void HostServices::set_log(LogSink log) {
  const std::lock_guard lock(log_mutex_);
  options_.log = std::move(log);
}

void HostServices::note_range_defect(const std::string& text) {
  {
    const std::lock_guard lock(log_mutex_);
    if (!range_defect_.empty()) return;
    range_defect_ = text;
  }
  log(MEDGEN_LOG_WARN, text);
}

std::string HostServices::range_defect() const {
  const std::lock_guard lock(log_mutex_);
  return range_defect_;
}

void HostServices::log(int level, std::string_view message) {
  constexpr std::size_t kRemembered = 1000;
  const std::lock_guard lock(log_mutex_);
  const bool warning = level == MEDGEN_LOG_WARN && warnings_.size() < kRemembered;
  if (warning && !warnings_.emplace(message).second) return;
  if (options_.log) options_.log(level, message);
}

PluginServices::PluginServices(std::shared_ptr<HostServices> host, std::string plugin_id)
    : host_(std::move(host)), plugin_id_(std::move(plugin_id)), handle_{this, nullptr} {
  table_.struct_size = sizeof table_;
  table_.abi_minor = MEDGEN_ABI_MINOR;
  table_.host = handle_.opaque();
  table_.get_extension = host_get_extension;
  table_.set_error = host_set_error;
  table_.log = host_log;
  table_.progress = CallFrame::progress;
  table_.fill_noise = CallFrame::fill_noise;
  table_.scratch = CallFrame::scratch;
  table_.parallel_for = host_parallel_for;
  table_.thread_count = host_thread_count;
  table_.range_push = host_range_push;
  table_.range_pop = host_range_pop;
}

void set_error_text(std::string_view text) noexcept {
  try {
    last_error_text = text;
  } catch (const std::exception&) {  // no memory for the text: the status alone must do
    last_error_text.clear();
  }
}

const std::string& error_text() {
  return last_error_text;
}

medgen_status_t run_parallel(unsigned threads, std::uint64_t n, void (*fn)(void* arg, std::uint64_t i),
                             void* arg) noexcept {
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&]() noexcept {
    const bool outer = std::exchange(inside_parallel, true);
    try {
      for (std::uint64_t i = next++; i < n && !failed; i = next++) fn(arg, i);
    } catch (...) {
      failed = true;
    }
    inside_parallel = outer;
  };
  std::vector<std::jthread> helpers;
  try {
    const std::uint64_t workers = inside_parallel ? 1 : std::min<std::uint64_t>(n, threads);
    for (std::uint64_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  } catch (const std::exception&) {  // no further thread can be had: the others do it all
  }
  work();
  helpers.clear();  // joins
  if (!failed) return MEDGEN_OK;
  set_error_text("an exception left a function that was given to parallel_for");
  return MEDGEN_E_INTERNAL;
}

}  // namespace medgen
