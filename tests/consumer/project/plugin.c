// SPDX-License-Identifier: Apache-2.0
// The plugin of a stranger, in C, with nothing but the installed headers: a compressor whose latent is half the volume.
#include <medgen/abi/medgen.h>

#include <stdint.h>
#include <string.h>

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

static const medgen_host_t* g_host;

static medgen_status_t fail(medgen_status_t status, const char* message) {
  const medgen_str_t text = {message, strlen(message)};
  if (MEDGEN_HAS_FN(medgen_host_t, g_host, set_error)) g_host->set_error(g_host->host, status, text);
  return status;
}

static int is_dense_float32(const medgen_tensor_t* x) {
  int64_t stride = 1;
  for (int32_t axis = x->ndim - 1; axis >= 0; stride *= x->shape[axis--]) {
    if (x->shape[axis] != 1 && x->strides[axis] != stride) return 0;
  }
  return x->dtype.code == MEDGEN_DTYPE_FLOAT && x->dtype.bits == 32 && x->device.type == MEDGEN_DEVICE_CPU;
}

static float* values(const medgen_tensor_t* x) {
  return (float*)(void*)((char*)x->data + x->byte_offset);
}

// out[to] = factor * in[from]
static medgen_status_t scale(const medgen_binds_t* in, const char* from, float factor, const medgen_outputs_t* out,
                             const char* to) {
  const medgen_tensor_t* x = NULL;
  for (uint32_t i = 0; i < in->count; ++i) {
    const medgen_str_t name = in->items[i].name;
    if (name.len == strlen(from) && memcmp(name.ptr, from, name.len) == 0) x = in->items[i].tensor;
  }
  if (x == NULL) return fail(MEDGEN_E_NOT_FOUND, "the input tensor is missing");
  if (!is_dense_float32(x)) return fail(MEDGEN_E_UNSUPPORTED, "the input must be dense float32 on the CPU");
  const medgen_str_t name = {to, strlen(to)};
  medgen_tensor_t y;
  const medgen_status_t status = out->allocate(out->host, name, x->dtype, x->ndim, x->shape, NULL, &y);
  if (status != MEDGEN_OK) return status;
  int64_t count = 1;
  for (int32_t axis = 0; axis < x->ndim; ++axis) count *= x->shape[axis];
  for (int64_t i = 0; i < count; ++i) values(&y)[i] = factor * values(x)[i];
  return MEDGEN_OK;
}

static medgen_status_t encode(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  (void)ctx;
  (void)self;
  return scale(in, "x", 0.5F, out, "mean");
}

static medgen_status_t decode(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  (void)ctx;
  (void)self;
  return scale(in, "z", 2.0F, out, "x");
}

// Objects have no state: all of them are this one.
static medgen_status_t create(const medgen_create_t* request, medgen_obj_t** out) {
  static char object;
  (void)request;
  *out = (medgen_obj_t*)(void*)&object;
  return MEDGEN_OK;
}

static void destroy(medgen_obj_t* self) {
  (void)self;
}

static medgen_status_t init(const medgen_host_t* host) {
  g_host = host;
  return MEDGEN_OK;
}

static void shut_down(void) {}

static const medgen_component_t kComponent = {
    .struct_size = sizeof(medgen_component_t), .flags = MEDGEN_THREADS_REENTRANT, .create = create, .destroy = destroy};
static const medgen_compressor_t kCompressor = {
    .struct_size = sizeof(medgen_compressor_t), .encode = encode, .decode = decode};
static const medgen_component_desc_t kHalf = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = TEXT("consumer.half"),
    .kind = TEXT(MEDGEN_COMPRESSOR_1),
    .summary = TEXT("The latent is half the volume."),
    .config_schema_json = TEXT("{\"type\": \"object\", \"additionalProperties\": false}"),
    .io_json = TEXT("{\"functions\": {\"encode\": {\"in\": {\"x\": {}}, \"out\": {\"mean\": {}}},"
                    " \"decode\": {\"in\": {\"z\": {}}, \"out\": {\"x\": {}}}}}"),
    .base = &kComponent,
    .interface = &kCompressor};

MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) {
  static const medgen_component_desc_t* const components[] = {&kHalf};
  static const medgen_plugin_t plugin = {.struct_size = sizeof(medgen_plugin_t),
                                         .abi_minor = MEDGEN_ABI_MINOR,
                                         .id = TEXT("consumer"),
                                         .version = TEXT("1.2.3"),
                                         .vendor = TEXT("a stranger"),
                                         .license = TEXT("Apache-2.0"),
                                         .summary = TEXT("A plugin from outside the tree."),
                                         .runtime_json = TEXT("{}"),
                                         .methods_json = TEXT("{}"),
                                         .component_count = 1,
                                         .components = components,
                                         .init = init,
                                         .shutdown = shut_down};
  return query->abi_major == MEDGEN_ABI_MAJOR ? &plugin : NULL;
}
