// SPDX-License-Identifier: Apache-2.0
// A plugin that loads well and then does what the "defect" of its config names. It is written against the bare ABI, as
// the SDK would not let it.
#include <medgen/abi/medgen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const medgen_host_t* host = nullptr;
const void* const kExtension = "an extension";

medgen_str_t text(const char* words) {
  return {words, std::strlen(words)};
}

medgen_status_t fail(medgen_status_t status, const char* words) {
  host->set_error(host->host, status, text(words));
  return status;
}

struct Object {
  std::string config;
  std::vector<double> times;
  std::int64_t shape[4] = {};
  std::int64_t channels = 0;
  int windows = 0;

  bool has(const char* defect) const { return config.find(std::string("\"") + defect + "\"") != std::string::npos; }
};

Object& of(medgen_obj_t* self) {
  return *reinterpret_cast<Object*>(self);
}

medgen_status_t create(const medgen_create_t* request, medgen_obj_t** out) {
  auto object = std::make_unique<Object>();
  object->config.assign(request->config_json.ptr, request->config_json.len);
  if (object->has("create fails")) return fail(MEDGEN_E_INVALID, "channels must be even");
  if (object->has("create fails silently")) return MEDGEN_E_INTERNAL;
  if (object->has("create throws")) throw std::runtime_error("thrown by create");
  if (object->has("create gives nothing")) return MEDGEN_OK;
  *out = reinterpret_cast<medgen_obj_t*>(object.release());
  return MEDGEN_OK;
}

void destroy(medgen_obj_t* self) {
  const bool throws = of(self).has("destroy throws");
  delete &of(self);
  if (throws) throw 1;
}

medgen_status_t describe(medgen_obj_t* self, const medgen_writer_t* json) {
  const std::string words = of(self).has("describe is no json") ? "latent channels: 4" : R"({"latent_channels": 4})";
  return json->write(json->host, words.data(), words.size()) < 0 ? MEDGEN_E_IO : MEDGEN_OK;
}

const void* get_extension(const char* id) {
  return std::strcmp(id, "tests.extension/1") == 0 ? kExtension : nullptr;
}

const medgen_tensor_t* find(const medgen_binds_t* in, std::string_view name) {
  for (std::uint32_t i = 0; i < in->count; ++i) {
    if (std::string_view(in->items[i].name.ptr, in->items[i].name.len) == name) return in->items[i].tensor;
  }
  return nullptr;
}

medgen_status_t allocate(const medgen_outputs_t* out, const char* name, std::vector<std::int64_t> shape,
                         medgen_tensor_t* tensor, medgen_dtype_t dtype = {MEDGEN_DTYPE_FLOAT, 32, 1}) {
  const medgen_status_t status = out->allocate(out->host, text(name), dtype, static_cast<std::int32_t>(shape.size()),
                                               shape.data(), nullptr, tensor);
  if (status != MEDGEN_OK) return status;
  std::size_t bytes = dtype.bits / 8u;
  for (const std::int64_t axis : shape) bytes *= static_cast<std::size_t>(axis);
  std::memset(tensor->data, 0, bytes);
  return status;
}

/// Twice x.
medgen_status_t double_x(const medgen_tensor_t& x, const medgen_outputs_t* out, const char* name,
                         medgen_tensor_t* made = nullptr) {
  medgen_tensor_t own{};
  medgen_tensor_t& result = made == nullptr ? own : *made;
  const std::vector<std::int64_t> shape(x.shape, x.shape + x.ndim);
  if (const auto status = allocate(out, name, shape, &result); status != MEDGEN_OK) return status;
  std::int64_t count = 1;
  for (const std::int64_t axis : shape) count *= axis;
  for (std::int64_t i = 0; i < count; ++i)
    static_cast<float*>(result.data)[i] = 2 * static_cast<const float*>(x.data)[i];
  return MEDGEN_OK;
}

medgen_status_t bad_allocation(const Object& object, const medgen_outputs_t* out) {
  medgen_tensor_t tensor{};
  if (object.has("negative shape")) return allocate(out, "out", {1, -4, 2, 2, 2}, &tensor);
  if (object.has("huge shape")) return allocate(out, "out", {1, 1 << 30, 1 << 30, 1 << 30, 1}, &tensor);
  if (object.has("more than the memory")) return allocate(out, "out", {1 << 20, 1 << 20}, &tensor);
  if (object.has("unknown dtype")) return allocate(out, "out", {1}, &tensor, {99, 7, 3});
  if (object.has("nameless output")) return allocate(out, "", {1}, &tensor);
  if (object.has("NULL shape")) {
    return out->allocate(out->host, text("out"), {MEDGEN_DTYPE_FLOAT, 32, 1}, 3, nullptr, nullptr, &tensor);
  }
  if (object.has("ignored refusal")) return allocate(out, "out", {-1}, &tensor), MEDGEN_OK;
  if (object.has("two shapes")) {
    allocate(out, "out", {1, 1}, &tensor);
    return allocate(out, "out", {1, 2}, &tensor);
  }
  return 1;
}

medgen_status_t predict(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                        const medgen_outputs_t* out) {
  const Object& object = of(self);
  const medgen_tensor_t* x = find(in, "x");
  if (x == nullptr) return fail(MEDGEN_E_NOT_FOUND, "there is no x");
  if (object.has("predict throws")) throw std::runtime_error("thrown by predict");
  if (object.has("predict throws an int")) throw 42;
  if (object.has("out of memory")) return fail(MEDGEN_E_OUT_OF_MEMORY, "the volume is too large");
  if (object.has("device lost")) return fail(MEDGEN_E_DEVICE, "the device is gone");
  if (object.has("unknown status")) return fail(-12345, "something new");
  if (object.has("positive status")) return 7;
  if (object.has("no reason")) return MEDGEN_E_INTERNAL;
  if (object.has("not text")) return fail(MEDGEN_E_INVALID, "bad \xff\x01 bytes");
  if (object.has("no output")) return MEDGEN_OK;
  if (object.has("wrong shape")) {
    medgen_tensor_t tensor{};
    return allocate(out, "out", {3, 3}, &tensor);
  }
  if (object.has("progress") && host->progress(ctx, text("working"), 1, 2) == 0) {
    return fail(MEDGEN_E_CANCELLED, "stopped");
  }
  if (object.has("ranges left open")) {
    for (const char* name : {"one", "two"}) host->range_push(host->host, text(name));
  }
  if (object.has("ranges closed twice")) {
    for (int i = 0; i < 3; ++i) host->range_pop(host->host);
  }
  if (object.has("ranges")) {
    host->range_push(host->host, text("layer"));
    host->range_pop(host->host);
  }
  if (const medgen_status_t status = bad_allocation(object, out); status <= 0) return status;
  medgen_tensor_t result{};
  if (const auto status = double_x(*x, out, "out", &result); status != MEDGEN_OK) return status;
  if (object.has("nan output")) static_cast<float*>(result.data)[3] = std::nanf("");
  if (object.has("infinite output")) static_cast<float*>(result.data)[0] = std::numeric_limits<float>::infinity();
  return MEDGEN_OK;
}

medgen_status_t predict_nan(const medgen_context_t*, medgen_obj_t*, const medgen_binds_t*,
                            const medgen_outputs_t* out) {
  host->range_push(host->host, text("never closed"));
  medgen_tensor_t result{};
  const medgen_status_t status = allocate(out, "out", {2}, &result);
  if (status == MEDGEN_OK) std::fill_n(static_cast<float*>(result.data), 2, std::nanf(""));
  return status;
}

medgen_status_t predict_by_another_name(const medgen_context_t*, medgen_obj_t*, const medgen_binds_t* in,
                                        const medgen_outputs_t* out) {
  const medgen_tensor_t* x = find(in, "x");
  return x == nullptr ? fail(MEDGEN_E_NOT_FOUND, "there is no x") : double_x(*x, out, "uot");
}

/// Uses every service of the host and reports what they did as outputs.
medgen_status_t use_services(const medgen_context_t* ctx, medgen_obj_t*, const medgen_binds_t*,
                             const medgen_outputs_t* out) {
  medgen_tensor_t noise{};
  medgen_status_t status = allocate(out, "noise", {2, 5}, &noise);
  if (status == MEDGEN_OK) status = host->fill_noise(ctx, MEDGEN_NOISE_NORMAL, text("init"), &noise);
  if (status == MEDGEN_OK && host->fill_noise(ctx, 9, text("init"), &noise) != MEDGEN_E_INVALID)
    status = MEDGEN_E_INTERNAL;
  void* memory = nullptr;
  if (status == MEDGEN_OK) status = host->scratch(ctx, 4096, &memory);
  if (status != MEDGEN_OK) return status;
  std::memset(memory, 1, 4096);
  medgen_tensor_t squares{};
  status = allocate(out, "squares", {1000}, &squares);
  if (status != MEDGEN_OK) return status;
  const auto square = [](void* arg, std::uint64_t i) { static_cast<float*>(arg)[i] = static_cast<float>(i * i); };
  status = host->parallel_for(host->host, 1000, square, squares.data);
  if (status != MEDGEN_OK) return status;
  const auto throws = [](void*, std::uint64_t i) {
    if (i == 3) throw std::runtime_error("thrown by a worker");
  };
  if (host->parallel_for(host->host, 10, throws, nullptr) != MEDGEN_E_INTERNAL) return MEDGEN_E_INTERNAL;
  host->log(host->host, MEDGEN_LOG_WARN, text("a warning"));
  host->log(ctx->host, MEDGEN_LOG_WARN, text("a warning through the context"));
  host->range_push(host->host, text("range"));
  host->range_pop(host->host);
  const bool knows = host->get_extension(host->host, "medgen.unknown/1") != nullptr;
  return knows || host->thread_count(host->host) == 0 ? MEDGEN_E_INTERNAL : MEDGEN_OK;
}

medgen_status_t encode_latent(const medgen_context_t*, medgen_obj_t*, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  medgen_tensor_t sigma{};
  if (const auto status = allocate(out, "sigma", {1}, &sigma); status != MEDGEN_OK) return status;
  return double_x(*find(in, "x"), out, "mean");
}

// Scheduler: four evaluations at 3, 2, 1, 0 unless the defect says otherwise.

medgen_status_t begin_run(medgen_obj_t* self, const medgen_schedule_request_t*, medgen_obj_t** run) {
  if (of(self).has("no run")) return MEDGEN_OK;
  of(self).times = {3, 2, 1, 0};
  if (of(self).has("nan time")) of(self).times[2] = std::nan("");
  *run = self;
  return MEDGEN_OK;
}

void end_run(medgen_obj_t*, medgen_obj_t*) {}

medgen_status_t timesteps(medgen_obj_t* self, medgen_obj_t*, const double** t, std::uint64_t* n) {
  *t = of(self).has("NULL times") ? nullptr : of(self).times.data();
  *n = of(self).has("no times") ? 0 : of(self).has("too many times") ? UINT64_MAX : of(self).times.size();
  return MEDGEN_OK;
}

medgen_status_t update(medgen_obj_t* self, medgen_obj_t*, std::uint64_t i, medgen_update_t* out) {
  out->x = static_cast<double>(i);
  out->m = 0.5;
  out->completes_step = 1;
  if (of(self).has("nan coefficient")) out->m = std::nan("");
  if (of(self).has("infinite history")) out->history[7] = std::numeric_limits<double>::infinity();
  if (of(self).has("unknown slot")) out->keep_m = MEDGEN_HISTORY;
  if (of(self).has("unknown flag")) out->flags = 1u << 20;
  if (of(self).has("crossed clamp")) out->flags = MEDGEN_UPDATE_CLAMP_X0, out->clamp_low = 1;
  return MEDGEN_OK;
}

medgen_status_t level(medgen_obj_t* self, medgen_obj_t*, double t, medgen_level_t* out) {
  out->alpha = 1;
  out->sigma = of(self).has("nan level") ? std::nan("") : t;
  return MEDGEN_OK;
}

// Propagator: one window over everything unless the defect says otherwise.

medgen_status_t begin_cover(const medgen_context_t*, medgen_obj_t* self, const medgen_cover_request_t* request,
                            medgen_obj_t** cover) {
  if (of(self).has("no cover")) return MEDGEN_OK;
  of(self).windows = 0;
  of(self).channels = request->channels;
  std::copy_n(request->shape, request->ndim, of(self).shape);
  *cover = self;
  return MEDGEN_OK;
}

medgen_status_t next(const medgen_context_t*, medgen_obj_t* self, medgen_obj_t*, medgen_window_t* window,
                     std::int32_t* done) {
  Object& object = of(self);
  *done = object.windows++ > 0;
  window->ndim = 3;
  std::copy_n(object.shape, 3, window->extent);
  if (object.has("window outside")) window->origin[1] = 1;
  if (object.has("window overflows")) window->origin[0] = INT64_MAX, window->extent[0] = INT64_MAX;
  if (object.has("empty window")) window->extent[2] = 0;
  if (object.has("window of two axes")) window->ndim = 2;
  if (object.has("window of many axes")) window->ndim = 1000;
  if (object.has("axes twice")) window->order[0] = 1;
  if (object.has("unknown rule")) window->known_rule = 77;
  if (object.has("known is missing")) window->known_rule = MEDGEN_KNOWN_CLEAN;
  if (object.has("conditions are missing")) window->conditions.count = 5;
  static std::int64_t shape[] = {7, 7};
  static const medgen_tensor_t odd{nullptr, {MEDGEN_DEVICE_CPU, 0}, 2, {MEDGEN_DTYPE_FLOAT, 32, 1}, shape, shape, 0};
  if (object.has("known without data")) window->known = &odd;
  return MEDGEN_OK;
}

medgen_status_t accept(const medgen_context_t*, medgen_obj_t*, medgen_obj_t*, const medgen_window_t*,
                       const medgen_tensor_t*) {
  return MEDGEN_OK;
}

medgen_status_t finish(const medgen_context_t*, medgen_obj_t* self, medgen_obj_t*, const medgen_outputs_t* out) {
  Object& object = of(self);
  if (object.has("finish gives nothing")) return MEDGEN_OK;
  medgen_tensor_t x{};
  std::vector<std::int64_t> shape{object.channels, object.shape[0], object.shape[1], object.shape[2]};
  if (object.has("finish gives less")) shape[0] += 1;
  return allocate(out, "x", shape, &x);
}

void end_cover(medgen_obj_t*, medgen_obj_t*) {}

/// The ABI's function types are noexcept; these functions are not, so that what they throw gets out.
template <typename Slot, typename Function>
void set(Slot& slot, Function* function) {
  slot = reinterpret_cast<Slot>(function);
}

medgen_component_t base{};
medgen_denoiser_t denoiser{};
medgen_conditioner_t conditioner{};
medgen_compressor_t compressor{};
medgen_scheduler_t scheduler{};
medgen_propagator_t propagator{};
medgen_component_desc_t descriptions[8]{};
const medgen_component_desc_t* components[8]{};
medgen_plugin_t plugin{};

medgen_status_t init(const medgen_host_t* services) noexcept {
  host = services;
  return MEDGEN_OK;
}

void shutdown() noexcept {
  host = nullptr;
}

template <typename Table>
void add(int i, const char* id, const char* kind, Table& table) {
  if (table.struct_size == 0) table.struct_size = sizeof table;
  medgen_component_desc_t& desc = descriptions[i];
  desc.struct_size = sizeof desc;
  desc.id = text(id);
  desc.kind = text(kind);
  desc.config_schema_json = text(R"({"type":"object","properties":{"defect":{"type":"string"}}})");
  desc.io_json = text("{}");
  desc.base = &base;
  desc.interface = &table;
  components[i] = &desc;
}

void fill_tables() {
  base.struct_size = sizeof base;
  set(base.create, create);
  set(base.destroy, destroy);
  set(base.describe, describe);
  set(base.get_extension, get_extension);
  set(denoiser.predict, predict);
  set(conditioner.encode, use_services);
  set(compressor.encode, encode_latent);
  compressor.struct_size = offsetof(medgen_compressor_t, prior);  // an older table: no prior
  set(scheduler.begin, begin_run);
  set(scheduler.end, end_run);
  set(scheduler.timesteps, timesteps);
  set(scheduler.update, update);
  set(scheduler.level, level);
  set(propagator.begin, begin_cover);
  set(propagator.next, next);
  set(propagator.accept, accept);
  set(propagator.finish, finish);
  set(propagator.end, end_cover);
}

}  // namespace

extern "C" MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t*) noexcept {
  fill_tables();
  add(0, "misbehaving.denoiser", MEDGEN_DENOISER_1, denoiser);
  add(1, "misbehaving.conditioner", MEDGEN_CONDITIONER_1, conditioner);
  add(2, "misbehaving.compressor", MEDGEN_COMPRESSOR_1, compressor);
  add(3, "misbehaving.scheduler", MEDGEN_SCHEDULER_1, scheduler);
  add(4, "misbehaving.propagator", MEDGEN_PROPAGATOR_1, propagator);
  static medgen_denoiser_t empty{};
  add(5, "misbehaving.empty", MEDGEN_DENOISER_1, empty);
  static medgen_denoiser_t nan{};
  set(nan.predict, predict_nan);
  add(6, "misbehaving.nan", MEDGEN_DENOISER_1, nan);
  static medgen_denoiser_t name{};
  set(name.predict, predict_by_another_name);
  add(7, "misbehaving.name", MEDGEN_DENOISER_1, name);
  plugin.struct_size = sizeof plugin;
  plugin.id = text("misbehaving");
  plugin.version = text("1.0.0");
  plugin.runtime_json = text("{}");
  plugin.methods_json = text("{}");
  plugin.component_count = 8;
  plugin.components = components;
  plugin.init = init;
  plugin.shutdown = shutdown;
  return &plugin;
}
