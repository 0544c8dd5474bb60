/* SPDX-License-Identifier: Apache-2.0
 * A denoiser in one file of C. It needs no weights: whatever the noise, it sees a ball. plugins/null has one component
 * of each kind in the same manner. */
#include <math.h>
#include <medgen/abi/medgen.h>
#include <stdlib.h>
#include <string.h>

#define STR(literal) \
  { literal, sizeof(literal) - 1 }

static const medgen_host_t* host_services;

typedef struct ball {
  float grain;
} ball;

/* The text tells the user what is wrong; the status tells the host. */
static medgen_status_t fail(medgen_status_t status, const char* text) {
  if (host_services != NULL && MEDGEN_HAS_FN(medgen_host_t, host_services, set_error)) {
    host_services->set_error(host_services->host, status, (medgen_str_t){text, strlen(text)});
  }
  return status;
}

/* The number behind "key": in a flat object. The host has validated the config against the schema and filled the
 * defaults in. */
static double number(medgen_str_t json, const char* key, double fallback) {
  char text[256];
  if (json.len >= sizeof text) return fallback;
  memcpy(text, json.ptr, json.len);
  text[json.len] = '\0';
  const char* found = strstr(text, key);
  const char* colon = found == NULL ? NULL : strchr(found, ':');
  return colon == NULL ? fallback : strtod(colon + 1, NULL);
}

static medgen_status_t create(const medgen_create_t* request, medgen_obj_t** out) {
  ball* self = calloc(1, sizeof *self);
  if (self == NULL) return fail(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  self->grain = request->config_json.len == 0 ? 0.1F : (float)number(request->config_json, "\"grain\"", 0.1);
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy(medgen_obj_t* self) {
  free(self);
}

static const medgen_tensor_t* find(const medgen_binds_t* binds, const char* name) {
  for (uint32_t i = 0; i < binds->count; ++i) {
    const medgen_str_t candidate = binds->items[i].name;
    if (candidate.len == strlen(name) && memcmp(candidate.ptr, name, candidate.len) == 0) return binds->items[i].tensor;
  }
  return NULL;
}

/* Strides are given for every tensor; this denoiser asks for the plain layout. */
static int is_plain(const medgen_tensor_t* x) {
  int64_t expected = 1;
  for (int32_t axis = x->ndim; axis-- > 0; expected *= x->shape[axis]) {
    if (x->shape[axis] != 1 && x->strides[axis] != expected) return 0;
  }
  return x->ndim == 5 && x->device.type == MEDGEN_DEVICE_CPU && x->dtype.code == MEDGEN_DTYPE_FLOAT &&
         x->dtype.bits == 32;
}

/* Position of voxel i on an axis of n voxels, from -1 to 1. */
static float position(int64_t i, int64_t n) {
  return (2.0F * (float)i + 1.0F) / (float)n - 1.0F;
}

static medgen_status_t predict(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                               const medgen_outputs_t* out) {
  (void)context;
  const ball* self = (const ball*)object;
  const medgen_tensor_t* x = find(in, "x");
  if (x == NULL) return fail(MEDGEN_E_NOT_FOUND, "input 'x' is missing");
  if (!is_plain(x))
    return fail(MEDGEN_E_UNSUPPORTED, "x must be a contiguous float32 tensor (N, C, D, H, W) on the CPU");

  const medgen_str_t name = STR("out");
  medgen_tensor_t result;
  const medgen_status_t status = out->allocate(out->host, name, x->dtype, x->ndim, x->shape, NULL, &result);
  if (status != MEDGEN_OK) return status;

  const int64_t* size = x->shape;
  const float* from = (const float*)(const void*)((const char*)x->data + x->byte_offset);
  float* to = (float*)(void*)((char*)result.data + result.byte_offset);
  for (int64_t n = 0; n < size[0] * size[1]; ++n) {
    for (int64_t k = 0; k < size[2]; ++k) {
      for (int64_t j = 0; j < size[3]; ++j) {
        for (int64_t i = 0; i < size[4]; ++i, ++from, ++to) {
          const float z = position(k, size[2]), y = position(j, size[3]), w = position(i, size[4]);
          const float inside = 0.7F - sqrtf(z * z + y * y + w * w) + self->grain * *from;
          *to = fminf(fmaxf(8.0F * inside, 0.0F), 1.0F);
        }
      }
    }
  }
  return MEDGEN_OK;
}

static medgen_status_t init(const medgen_host_t* host) {
  host_services = host;
  return MEDGEN_OK;
}

static void shutdown(void) {
  host_services = NULL;
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE,
    .create = create,
    .destroy = destroy,
};

static const medgen_denoiser_t denoiser = {.struct_size = sizeof(medgen_denoiser_t), .predict = predict};

static const medgen_component_desc_t component = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = STR("ball.denoiser"),
    .kind = STR(MEDGEN_DENOISER_1),
    .summary = STR("Predicts a ball with a grainy surface as the clean sample."),
    .config_schema_json =
        STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"grain\": {\"type\": \"number\","
            " \"minimum\": 0, \"maximum\": 1, \"default\": 0.1, \"description\": \"share of the input that shows\"}}}"),
    .io_json = STR("{\"functions\": {\"predict\": {"
                   "\"in\": {\"x\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"D\", \"H\", \"W\"]}},"
                   "\"out\": {\"out\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"D\", \"H\", \"W\"]}}}}}"),
    .base = &base,
    .interface = &denoiser,
};

static const medgen_component_desc_t* const components[] = {&component};

static const medgen_plugin_t plugin = {
    .struct_size = sizeof(medgen_plugin_t),
    .abi_minor = MEDGEN_ABI_MINOR,
    .id = STR("ball"),
    .version = STR("1.0.0"),
    .vendor = STR("medgen examples"),
    .license = STR("Apache-2.0"),
    .summary = STR("A denoiser in C: it sees a ball in every noise."),
    .runtime_json = STR("{}"),
    .methods_json = STR("{}"),
    .component_count = 1,
    .components = components,
    .init = init,
    .shutdown = shutdown,
};

MEDGEN_EXPORT const medgen_plugin_t* medgen_plugin_v1(const medgen_query_t* query) {
  return query != NULL && query->abi_major == MEDGEN_ABI_MAJOR ? &plugin : NULL;
}
