// SPDX-License-Identifier: Apache-2.0
#include "core/capi/boundary.h"
#include "core/inspect/inspect.h"
#include "core/pipeline/pipeline.h"
#include "core/run/run_trace.h"

#include <medgen/host.h>

#include <nlohmann/json.hpp>

#include <charconv>
#include <mutex>
#include <optional>

using medgen::capi::guarded;
using medgen::capi::lend;
using medgen::capi::read_struct;
using medgen::capi::require;
using medgen::capi::str;

struct medgen_session {
  medgen::Registry registry;
  int threads = 0;  // 0: as the pipeline says
  std::optional<medgen::Precision> precision;
  std::optional<medgen_device_t> device;
  medgen_log_fn log = nullptr;
  void* user = nullptr;
};

struct medgen_pipeline {
  medgen::Pipeline pipeline;
};

struct medgen_cancel_token {
  medgen::CancelToken token;
};

namespace medgen::capi {
namespace {

std::optional<Precision> precision_of(const char* text) {
  const std::string_view name = text == nullptr ? "auto" : text;
  if (name == "auto") return {};
  if (name == "fp32") return Precision::Fp32;
  if (name == "bf16") return Precision::Bf16;
  throw UsageError("options.precision is '{}'; fp32, bf16 and auto are known", name);
}

std::optional<medgen_device_t> device_of(const char* text) {
  const std::string_view name = text == nullptr ? "auto" : text;
  if (name == "auto") return {};
  if (name == "cpu") return medgen_device_t{MEDGEN_DEVICE_CPU, 0};
  medgen_device_t device{MEDGEN_DEVICE_CUDA, 0};
  if (name == "cuda") return device;
  constexpr std::string_view kPrefix = "cuda:";
  if (name.starts_with(kPrefix)) {
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, device.index);
    if (error == std::errc() && stop == end && device.index >= 0) return device;
  }
  throw UsageError("options.device is '{}'; auto, cpu, cuda and cuda:N are known", name);
}

std::vector<std::string> strings(const char* const* items, std::uint64_t count, std::string_view name) {
  std::vector<std::string> copies;
  if (count > 0) require(items, name);
  for (std::uint64_t i = 0; i < count; ++i) {
    require(items[i], fmt::format("{}[{}]", name, i));
    copies.emplace_back(items[i]);
  }
  return copies;
}

std::unique_ptr<medgen_session> open(const medgen_open_options_t& options) {
  const auto folders = strings(options.plugin_dirs, options.plugin_dir_count, "options.plugin_dirs");
  constexpr std::uint32_t kMostThreads = 4096;
  if (options.threads > kMostThreads)
    throw UsageError("options.threads is {}; at most {}", options.threads, kMostThreads);
  auto session = std::make_unique<medgen_session>();
  session->precision = precision_of(options.precision);
  session->device = device_of(options.device);
  session->threads = static_cast<int>(options.threads);
  session->log = options.log;
  session->user = options.user;
  session->registry = Registry::scan({folders.begin(), folders.end()});
  return session;
}

/// One run's, or one plan's, connection to the caller's functions. Outlives the Host that it serves.
class Caller {
 public:
  Caller(const medgen_session& session, const medgen_callbacks_t& callbacks)
      : callbacks_(callbacks),
        log_(callbacks.log != nullptr ? callbacks.log : session.log),
        log_user_(callbacks.log != nullptr ? callbacks.user : session.user) {}

  void log(int level, std::string_view text) {
    if (log_ == nullptr) return;
    const std::lock_guard lock(log_mutex_);
    log_(log_user_, level, str(text));
  }

  RunObserver observer(CancelToken* cancel) {
    RunObserver observer;
    observer.cancel = cancel;
    observer.log = [this](LogLevel level, std::string_view text) { log(abi_log_level(level), text); };
    if (callbacks_.progress != nullptr) observer.progress = [this](const Progress& p) { progress(p); };
    if (callbacks_.preview != nullptr) {
      observer.preview = [this](std::string_view step, std::string_view item, const Tensor& x0) {
        const medgen_tensor_t view = x0.abi();
        callbacks_.preview(callbacks_.user, str(step), str(item), &view);
      };
    }
    return observer;
  }

 private:
  void progress(const Progress& p) {
    const medgen_progress_t view{
        sizeof(medgen_progress_t), 0, str(p.step), str(p.task), str(p.item), str(p.note), p.done, p.total};
    callbacks_.progress(callbacks_.user, &view);
  }

  medgen_callbacks_t callbacks_;
  medgen_log_fn log_;
  void* log_user_;
  std::mutex log_mutex_;
};

HostOptions host_options(const medgen_session& session, const Pipeline& pipeline, Caller& caller) {
  HostOptions options = pipeline.host_options();
  if (session.threads > 0) options.threads = session.threads;
  if (session.precision) options.precision = *session.precision;
  if (session.device) options.device = *session.device;
  options.log = [&caller](int level, std::string_view text) { caller.log(level, text); };
  return options;
}

void run(const medgen_session& session, const Pipeline& pipeline, const medgen_callbacks_t& callbacks,
         CancelToken* cancel) {
  Caller caller(session, callbacks);
  RunTrace trace(callbacks.trace == nullptr ? "" : callbacks.trace,
                 [&caller](std::string_view text) { caller.log(abi_log_level(LogLevel::Warning), text); });
  HostOptions options = host_options(session, pipeline, caller);
  options.trace = trace.get();
  Host host(session.registry, std::move(options));
  RunObserver observer = caller.observer(cancel);
  observer.trace = trace.get();
  pipeline.run(host, observer);
  trace.finish();
}

}  // namespace
}  // namespace medgen::capi

extern "C" {

const char* medgen_version(void) noexcept {
  return MEDGEN_VERSION;
}

const char* medgen_error(void) noexcept {
  return medgen::capi::last_message();
}

int32_t medgen_error_kind(void) noexcept {
  return medgen::capi::last_kind();
}

medgen_status_t medgen_open(const medgen_open_options_t* options, medgen_session_t** out) noexcept {
  return guarded([&] {
    require(out, "out");
    *out = medgen::capi::open(read_struct(options, "options")).release();
  });
}

void medgen_close(medgen_session_t* session) noexcept {
  delete session;
}

medgen_status_t medgen_plugins_json(medgen_session_t* session, const char** json) noexcept {
  return guarded([&] {
    require(session, "session");
    require(json, "json");
    *json = lend(medgen::dump_pretty(medgen::plugins_document(session->registry)));
  });
}

medgen_status_t medgen_describe_json(medgen_session_t* session, const char* id, const char** json) noexcept {
  return guarded([&] {
    require(session, "session");
    require(json, "json");
    const bool everything = id == nullptr || *id == '\0';
    *json = lend(medgen::dump_pretty(everything ? medgen::catalogue_document(session->registry)
                                                : medgen::describe_document(session->registry, id)));
  });
}

medgen_status_t medgen_pipeline_open(const char* file, const char* const* overrides, uint64_t count,
                                     medgen_pipeline_t** out) noexcept {
  return guarded([&] {
    require(file, "file");
    require(out, "out");
    *out = new medgen_pipeline{medgen::Pipeline::load(file, medgen::capi::strings(overrides, count, "overrides"))};
  });
}

medgen_status_t medgen_pipeline_parse(const char* text, const char* folder, const char* const* overrides,
                                      uint64_t count, medgen_pipeline_t** out) noexcept {
  return guarded([&] {
    require(text, "text");
    require(folder, "folder");
    require(out, "out");
    *out = new medgen_pipeline{
        medgen::Pipeline::parse(text, folder, medgen::capi::strings(overrides, count, "overrides"))};
  });
}

void medgen_pipeline_close(medgen_pipeline_t* pipeline) noexcept {
  delete pipeline;
}

medgen_status_t medgen_pipeline_resolved(const medgen_pipeline_t* pipeline, const char** json) noexcept {
  return guarded([&] {
    require(pipeline, "pipeline");
    require(json, "json");
    *json = lend(pipeline->pipeline.resolved());
  });
}

medgen_status_t medgen_plan_json(medgen_session_t* session, const medgen_pipeline_t* pipeline,
                                 const char** json) noexcept {
  return guarded([&] {
    require(session, "session");
    require(pipeline, "pipeline");
    require(json, "json");
    medgen::capi::Caller caller(*session, {});
    medgen::Host host(session->registry, medgen::capi::host_options(*session, pipeline->pipeline, caller));
    const medgen::Pipeline& planned = pipeline->pipeline;
    *json = lend(medgen::dump_pretty(medgen::plan_document(planned.plan(host), planned.seed())));
  });
}

medgen_status_t medgen_run(medgen_session_t* session, const medgen_pipeline_t* pipeline,
                           const medgen_callbacks_t* callbacks, medgen_cancel_token_t* cancel) noexcept {
  return guarded([&] {
    require(session, "session");
    require(pipeline, "pipeline");
    medgen::capi::run(*session, pipeline->pipeline, read_struct(callbacks, "callbacks"),
                      cancel == nullptr ? nullptr : &cancel->token);
  });
}

medgen_status_t medgen_cancel_token_create(medgen_cancel_token_t** out) noexcept {
  return guarded([&] {
    require(out, "out");
    *out = new medgen_cancel_token;
  });
}

void medgen_cancel_token_destroy(medgen_cancel_token_t* token) noexcept {
  delete token;
}

void medgen_cancel(medgen_cancel_token_t* token) noexcept {
  if (token != nullptr) token->token.cancel();
}

}  // extern "C"
