// SPDX-License-Identifier: Apache-2.0
// A plugin in plain C that sees nothing but the frozen headers of ABI 1.0. Every later host must load it and run it, so
// this file never changes. It has a scheduler (Euler steps of x_t = (1 - t) x0 + t eps) and a compressor (the latent is
// -x).
#include <medgen/abi/medgen.h>

#include <stdlib.h>
#include <string.h>

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }
#define NO_CONFIG TEXT("{\"type\": \"object\", \"additionalProperties\": false}")

// A component without state still needs an address of its own.
struct medgen_obj {
  const medgen_host_t* host;
  uint64_t steps;
  double* times;
};

static const medgen_host_t* g_host;

static medgen_status_t fail(medgen_status_t status, const char* message) {
  const medgen_str_t text = {message, strlen(message)};
  if (MEDGEN_HAS_FN(medgen_host_t, g_host, set_error)) g_host->set_error(g_host->host, status, text);
  return status;
}

static medgen_status_t create(const medgen_create_t* request, medgen_obj_t** out) {
  medgen_obj_t* self = calloc(1, sizeof *self);
  if (self == NULL) return MEDGEN_E_OUT_OF_MEMORY;
  self->host = request->host;
  *out = self;
  return MEDGEN_OK;
}

static void destroy(medgen_obj_t* self) {
  if (self != NULL) free(self->times);
  free(self);
}

// --- scheduler
// -------------------------------------------------------------------------------------------------------------

static medgen_status_t begin(medgen_obj_t* self, const medgen_schedule_request_t* request, medgen_obj_t** run) {
  (void)self;
  if (request->steps == 0) return fail(MEDGEN_E_INVALID, "steps is 0, at least 1 is needed");
  medgen_obj_t* state = calloc(1, sizeof *state);
  if (state == NULL) return MEDGEN_E_OUT_OF_MEMORY;
  state->steps = request->steps;
  state->times = calloc((size_t)request->steps + 1, sizeof(double));
  if (state->times == NULL) {
    free(state);
    return MEDGEN_E_OUT_OF_MEMORY;
  }
  for (uint64_t i = 0; i <= state->steps; ++i) {
    state->times[i] = request->start * (double)(state->steps - i) / (double)state->steps;
  }
  *run = state;
  return MEDGEN_OK;
}

static void end(medgen_obj_t* self, medgen_obj_t* run) {
  (void)self;
  destroy(run);
}

static medgen_status_t timesteps(medgen_obj_t* self, medgen_obj_t* run, const double** t, uint64_t* n) {
  (void)self;
  *t = run->times;
  *n = run->steps;
  return MEDGEN_OK;
}

static medgen_status_t update(medgen_obj_t* self, medgen_obj_t* run, uint64_t i, medgen_update_t* out) {
  (void)self;
  if (i >= run->steps) return fail(MEDGEN_E_INVALID, "there is no such evaluation");
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  out->x0_x = 1.0;
  out->x0_m = run->times[i];
  out->x = 1.0;
  out->m = run->times[i] - run->times[i + 1];
  out->keep_x = out->keep_m = out->keep_x0 = -1;
  out->completes_step = 1;
  return MEDGEN_OK;
}

static medgen_status_t level(medgen_obj_t* self, medgen_obj_t* run, double t, medgen_level_t* out) {
  (void)self;
  (void)run;
  memset(out, 0, sizeof *out);
  out->struct_size = sizeof *out;
  out->alpha = 1.0 - t;
  out->sigma = t;
  out->target_x0 = 1.0;
  out->target_eps = -1.0;
  out->x0_x = 1.0;
  out->x0_m = t;
  return MEDGEN_OK;
}

static medgen_status_t training_time(medgen_obj_t* self, const medgen_schedule_request_t* request, double u,
                                     double* t) {
  (void)self;
  (void)request;
  *t = u;
  return MEDGEN_OK;
}

// --- compressor
// ------------------------------------------------------------------------------------------------------------

static const medgen_tensor_t* find(const medgen_binds_t* binds, const char* name) {
  for (uint32_t i = 0; i < binds->count; ++i) {
    const medgen_str_t given = binds->items[i].name;
    if (given.len == strlen(name) && memcmp(given.ptr, name, given.len) == 0) return binds->items[i].tensor;
  }
  return NULL;
}

static int is_float32(const medgen_tensor_t* x) {
  return x->dtype.code == MEDGEN_DTYPE_FLOAT && x->dtype.bits == 32 && x->device.type == MEDGEN_DEVICE_CPU;
}

// Writes -x into the dense tensor y of the same shape; x may have any strides.
static void negate(const medgen_tensor_t* x, const medgen_tensor_t* y) {
  const float* source = (const float*)(const void*)((const char*)x->data + x->byte_offset);
  float* target = (float*)(void*)((char*)y->data + y->byte_offset);
  int64_t count = 1;
  for (int32_t axis = 0; axis < x->ndim; ++axis) count *= x->shape[axis];
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, from = 0, to = 0;
    for (int32_t axis = x->ndim - 1; axis >= 0; --axis) {
      const int64_t index = rest % x->shape[axis];
      rest /= x->shape[axis];
      from += index * x->strides[axis];
      to += index * y->strides[axis];
    }
    target[to] = -source[from];
  }
}

static medgen_status_t negate_named(const medgen_binds_t* in, const char* from, const medgen_outputs_t* out,
                                    const char* to) {
  const medgen_tensor_t* x = find(in, from);
  if (x == NULL) return fail(MEDGEN_E_NOT_FOUND, "the input tensor is missing");
  if (!is_float32(x)) return fail(MEDGEN_E_UNSUPPORTED, "the input must be float32 on the CPU");
  const medgen_str_t name = {to, strlen(to)};
  medgen_tensor_t y;
  const medgen_status_t status = out->allocate(out->host, name, x->dtype, x->ndim, x->shape, NULL, &y);
  if (status != MEDGEN_OK) return status;
  negate(x, &y);
  return MEDGEN_OK;
}

static medgen_status_t encode(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  (void)ctx;
  (void)self;
  return negate_named(in, "x", out, "mean");
}

static medgen_status_t decode(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  (void)ctx;
  (void)self;
  return negate_named(in, "z", out, "x");
}

static medgen_status_t prior(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                             const medgen_outputs_t* out) {
  (void)self;
  (void)in;
  const medgen_str_t name = TEXT("z"), purpose = TEXT("prior");
  const medgen_dtype_t float32 = {MEDGEN_DTYPE_FLOAT, 32, 1};
  const int64_t shape[5] = {1, 1, 4, 4, 4};
  medgen_tensor_t z;
  const medgen_status_t status = out->allocate(out->host, name, float32, 5, shape, NULL, &z);
  if (status != MEDGEN_OK) return status;
  if (!MEDGEN_HAS_FN(medgen_host_t, g_host, fill_noise)) return fail(MEDGEN_E_UNSUPPORTED, "this host makes no noise");
  return g_host->fill_noise(ctx, MEDGEN_NOISE_NORMAL, purpose, &z);
}

// --- description
// -----------------------------------------------------------------------------------------------------------

static const medgen_component_t kComponent = {
    .struct_size = sizeof(medgen_component_t), .flags = MEDGEN_THREADS_REENTRANT, .create = create, .destroy = destroy};

static const medgen_scheduler_t kScheduler = {.struct_size = sizeof(medgen_scheduler_t),
                                              .begin = begin,
                                              .end = end,
                                              .timesteps = timesteps,
                                              .update = update,
                                              .level = level,
                                              .training_time = training_time};

static const medgen_compressor_t kCompressor = {
    .struct_size = sizeof(medgen_compressor_t), .encode = encode, .decode = decode, .prior = prior};

static const medgen_component_desc_t kEuler = {.struct_size = sizeof(medgen_component_desc_t),
                                               .id = TEXT("frozen_v1_0.euler"),
                                               .kind = TEXT(MEDGEN_SCHEDULER_1),
                                               .summary = TEXT("Euler steps along straight lines."),
                                               .config_schema_json = NO_CONFIG,
                                               .io_json = TEXT("{}"),
                                               .base = &kComponent,
                                               .interface = &kScheduler};

static const medgen_component_desc_t kNegative = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = TEXT("frozen_v1_0.negative"),
    .kind = TEXT(MEDGEN_COMPRESSOR_1),
    .summary = TEXT("The latent is the negative of the volume."),
    .config_schema_json = NO_CONFIG,
    .io_json = TEXT(
        "{\"functions\": {\"encode\": {\"in\": {\"x\": {}}, \"out\": {\"mean\": {}}},"
        " \"decode\": {\"in\": {\"z\": {}}, \"out\": {\"x\": {}}}, \"prior\": {\"in\": {}, \"out\": {\"z\": {}}}}}"),
    .base = &kComponent,
    .interface = &kCompressor};

static medgen_status_t init(const medgen_host_t* host) {
  g_host = host;
  return MEDGEN_OK;
}

static void shut_down(void) {}

const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) {
  static const medgen_component_desc_t* const components[] = {&kEuler, &kNegative};
  static const medgen_plugin_t plugin = {.struct_size = sizeof(medgen_plugin_t),
                                         .abi_minor = MEDGEN_ABI_MINOR,
                                         .id = TEXT("frozen_v1_0"),
                                         .version = TEXT("1.0.0"),
                                         .vendor = TEXT("medgen"),
                                         .license = TEXT("Apache-2.0"),
                                         .summary = TEXT("Built from the frozen headers of ABI 1.0."),
                                         .runtime_json = TEXT("{}"),
                                         .methods_json = TEXT("{}"),
                                         .component_count = 2,
                                         .components = components,
                                         .init = init,
                                         .shutdown = shut_down};
  return query->abi_major == 1 ? &plugin : NULL;
}
