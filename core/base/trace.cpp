// SPDX-License-Identifier: Apache-2.0
#include "core/base/trace.h"

#include "core/base/error.h"

#include <atomic>

#ifdef MEDGEN_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace medgen {
namespace {

/// 1 is the first thread that traces anything.
std::uint32_t thread_number() {
  static std::atomic<std::uint32_t> last{0};
  thread_local const std::uint32_t number = ++last;
  return number;
}

/// A JSON string. Names are UTF-8.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

double microseconds(Trace::Time::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

}  // namespace

Trace::Trace(std::filesystem::path file) : file_(std::move(file)), text_("{\"traceEvents\": [") {
  if (std::filesystem::is_directory(file_.path()))
    throw RuntimeError("'{}' is a folder; a trace is a file", file_.path().string());
}

void Trace::add(std::string_view name, const char* category, Time begin, Time end) {
  constexpr std::size_t kBuffer = 1 << 16;
  const std::string event = fmt::format(
      "\n{{\"name\": {}, \"cat\": \"{}\", \"ph\": \"X\", \"ts\": {:.3f}, \"dur\": {:.3f}, \"pid\": 1, \"tid\": {}}},",
      quoted(name), category, microseconds(begin - start_), microseconds(end - begin), thread_number());
  const std::lock_guard lock(mutex_);
  text_ += event;
  if (text_.size() >= kBuffer) flush();
}

void Trace::flush() {
  try {
    if (!failure_) file_.write(text_);
  } catch (const std::exception&) {  // a full disk is told at the end: the run is worth more than its trace
    failure_ = std::current_exception();
  }
  text_.clear();
}

void Trace::finish() {
  const std::lock_guard lock(mutex_);
  // The last event says what the process is called, and ends the list without a comma.
  text_ += "\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, \"args\": {\"name\": \"medgen\"}}\n]}\n";
  flush();
  if (failure_) std::rethrow_exception(failure_);
  file_.commit();
}

#ifdef MEDGEN_NVTX
namespace {

nvtxDomainHandle_t profiler_domain() {
  static const nvtxDomainHandle_t domain = nvtxDomainCreateA("medgen");
  return domain;
}

}  // namespace

void begin_profiler_range(std::string_view name) noexcept {
  char words[128];  // NVTX wants a terminated text
  const std::size_t length = name.copy(words, sizeof words - 1);
  words[length] = '\0';
  nvtxEventAttributes_t event{};
  event.version = NVTX_VERSION;
  event.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  event.messageType = NVTX_MESSAGE_TYPE_ASCII;
  event.message.ascii = words;
  nvtxDomainRangePushEx(profiler_domain(), &event);
}

void end_profiler_range() noexcept {
  nvtxDomainRangePop(profiler_domain());
}
#else
void begin_profiler_range(std::string_view) noexcept {}

void end_profiler_range() noexcept {}
#endif

}  // namespace medgen
