/* SPDX-License-Identifier: Apache-2.0
 * null.compressor: the identity, or with "factor" n the mean of n^3 voxels and back by repetition. `prior` gives noise,
 * so that the component can stand in for a GAN. */
#include "plugins/null/null.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMaxAxes = 8 };

typedef struct compressor {
  null_fault fault;
  null_cost cost;
  int64_t factor;
  int64_t prior_size;
} compressor;

static medgen_status_t create_compressor(const medgen_create_t* create, medgen_obj_t** out) {
  compressor* self = calloc(1, sizeof *self);
  if (self == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  null_read_fault(create->config_json, &self->fault);
  null_read_cost(create->config_json, create->memory_budget, &self->cost);
  self->factor = (int64_t)null_config_number(create->config_json, "factor", 1);
  self->prior_size = (int64_t)null_config_number(create->config_json, "prior_size", 4);
  if (self->factor < 1 || self->factor > 64 || self->prior_size < 1 || self->prior_size > 512) {
    free(self);
    return null_error(MEDGEN_E_INVALID, "factor must be from 1 to 64 and prior_size from 1 to 512");
  }
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy_compressor(medgen_obj_t* self) {
  free(self);
}

static medgen_status_t describe_compressor(medgen_obj_t* object, const medgen_writer_t* json) {
  char text[64];
  snprintf(text, sizeof text, "{\"compression\": %d}", (int)((const compressor*)object)->factor);
  return null_write(json, text);
}

/* Index of the voxel of `small` that holds voxel `i` of `large`; both (N, C, spatial...). */
static int64_t coarse_index(int64_t i, const medgen_tensor_t* large, const medgen_tensor_t* small, int64_t factor) {
  int64_t index = 0;
  int64_t stride = 1;
  for (int32_t axis = large->ndim; axis-- > 0;) {
    const int64_t position = i % large->shape[axis];
    i /= large->shape[axis];
    index += stride * (axis < 2 ? position : position / factor);
    stride *= small->shape[axis];
  }
  return index;
}

/* What encode and decode have in common: find, check, allocate. */
static medgen_status_t open_tensors(const compressor* self, const medgen_binds_t* in, const char* in_name,
                                    const medgen_outputs_t* out, const char* out_name, int down, null_mode mode,
                                    const medgen_tensor_t** from, medgen_tensor_t* to) {
  *from = null_find(in, in_name);
  if (*from == NULL) return MEDGEN_E_NOT_FOUND;
  medgen_status_t status = null_check_float(*from, in_name);
  if (status != MEDGEN_OK) return status;
  const int32_t ndim = (*from)->ndim;
  if (ndim < 3 || ndim > kMaxAxes)
    return null_error(MEDGEN_E_INVALID, "%s has %d axes, expected 3 to 8", in_name, ndim);
  int64_t shape[kMaxAxes];
  for (int32_t axis = 0; axis < ndim; ++axis) {
    const int64_t size = (*from)->shape[axis];
    if (axis >= 2 && down && size % self->factor != 0) {
      return null_error(MEDGEN_E_INVALID, "axis %d has %lld voxels, not a multiple of %lld", axis, (long long)size,
                        (long long)self->factor);
    }
    shape[axis] = axis < 2 ? size : down ? size / self->factor : size * self->factor;
  }
  if (mode == NULL_MODE_GARBAGE_SHAPE) shape[ndim - 1] += 1;
  status = null_allocate(out, out_name, (*from)->dtype, ndim, shape, to);
  if (status != MEDGEN_OK) return status;
  const int64_t count = null_count(to);
  for (int64_t i = 0; i < count; ++i) ((float*)null_data(to))[i] = mode == NULL_MODE_NAN ? NAN : 0.0F;
  return MEDGEN_OK;
}

static medgen_status_t encode(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  const compressor* self = (const compressor*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "encode", &mode, &done);
  if (done) return status;
  const medgen_tensor_t* x = NULL;
  medgen_tensor_t mean;
  status = open_tensors(self, in, "x", out, "mean", 1, mode, &x, &mean);
  if (status != MEDGEN_OK || mode != NULL_MODE_OK) return status;

  const float* from = null_data(x);
  float* to = null_data(&mean);
  const int64_t count = null_count(x);
  for (int64_t i = 0; i < count; ++i) to[coarse_index(i, x, &mean, self->factor)] += from[i];
  const float share = (float)null_count(&mean) / (float)count;
  for (int64_t i = 0; i < null_count(&mean); ++i) to[i] *= share;
  return MEDGEN_OK;
}

static medgen_status_t decode(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  const compressor* self = (const compressor*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "decode", &mode, &done);
  if (done) return status;
  const medgen_tensor_t* z = NULL;
  medgen_tensor_t x;
  status = open_tensors(self, in, "z", out, "x", 0, mode, &z, &x);
  if (status != MEDGEN_OK || mode != NULL_MODE_OK) return status;

  const float* from = null_data(z);
  float* to = null_data(&x);
  const int64_t count = null_count(&x);
  for (int64_t i = 0; i < count; ++i) to[i] = from[coarse_index(i, &x, z, self->factor)];
  return MEDGEN_OK;
}

/* Noise comes from the host, so that a seed means the same for every plugin. */
static medgen_status_t prior(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                             const medgen_outputs_t* out) {
  const compressor* self = (const compressor*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "prior", &mode, &done);
  if (done) return status;
  const int64_t batch = (int64_t)null_config_number(in->params_json, "batch", 1);
  if (batch < 1 || batch > 4096)
    return null_error(MEDGEN_E_INVALID, "batch is %lld, expected 1 to 4096", (long long)batch);
  const int64_t shape[5] = {batch, 1, self->prior_size, self->prior_size, self->prior_size};
  const medgen_dtype_t float32 = {MEDGEN_DTYPE_FLOAT, 32, 1};
  medgen_tensor_t z;
  status = null_allocate(out, "z", float32, mode == NULL_MODE_GARBAGE_SHAPE ? 1 : 5, shape, &z);
  if (status != MEDGEN_OK) return status;
  if (mode != NULL_MODE_NAN) return null_fill_noise(context, "prior", &z);
  memset(null_data(&z), 0xff, (size_t)null_count(&z) * sizeof(float)); /* all bits set is a NaN */
  return MEDGEN_OK;
}

static medgen_status_t estimate(medgen_obj_t* object, medgen_str_t request, const medgen_writer_t* json) {
  const compressor* self = (const compressor*)object;
  (void)request;
  return null_estimate(&self->fault, &self->cost, json);
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE,
    .create = create_compressor,
    .destroy = destroy_compressor,
    .describe = describe_compressor,
    .estimate = estimate,
};

static const medgen_compressor_t interface = {
    .struct_size = sizeof(medgen_compressor_t), .encode = encode, .decode = decode, .prior = prior};

const medgen_component_desc_t null_compressor_desc = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = NULL_STR("null.compressor"),
    .kind = NULL_STR(MEDGEN_COMPRESSOR_1),
    .summary = NULL_STR("The identity, or averaging and repetition of blocks."),
    .config_schema_json =
        NULL_STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
                 "\"factor\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 64, \"default\": 1},"
                 "\"prior_size\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 512, \"default\": 4,"
                 "  \"description\": \"voxels along each axis of what prior gives\"}," NULL_COST_SCHEMA
                 "," NULL_FAULT_SCHEMA "}}"),
    .io_json = NULL_STR("{\"functions\": {"
                        "\"encode\": {\"in\": {\"x\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}},"
                        "  \"out\": {\"mean\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}}},"
                        "\"decode\": {\"in\": {\"z\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}},"
                        "  \"out\": {\"x\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}}},"
                        "\"prior\": {\"params\": [\"batch\"], \"in\": {},"
                        "  \"out\": {\"z\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}}}}}"),
    .base = &base,
    .interface = &interface,
};
