/* SPDX-License-Identifier: Apache-2.0
 * null.propagator: windows of "window" slices along "axis", each of which knows the last "overlap" slices of the one
 * before. The host samples a window and gives the result back; then it asks for the next. */
#include "plugins/null/null.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct propagator {
  null_fault fault;
  int32_t axis;
  int64_t window;
  int64_t overlap;
  uint32_t known_rule;
} propagator;

/* One array that is being covered. The array is seen as (outer, along, inner), where `along` is the axis of the
 * windows. */
typedef struct cover {
  int64_t channels, ndim, shape[4];
  int64_t outer, along, inner;
  int64_t next_start;
  int waiting;      /* a window that needs earlier results is open */
  uint8_t* covered; /* along; 1 where a slice has been accepted */
  float* values;
  float* known;
  uint8_t* mask;
  int64_t known_shape[5], known_strides[5];
  medgen_tensor_t known_tensor, mask_tensor;
} cover;

static medgen_status_t create_propagator(const medgen_create_t* create, medgen_obj_t** out) {
  propagator* self = calloc(1, sizeof *self);
  if (self == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  char rule[16];
  null_read_fault(create->config_json, &self->fault);
  self->axis = (int32_t)null_config_number(create->config_json, "axis", 0);
  self->window = (int64_t)null_config_number(create->config_json, "window", 16);
  self->overlap = (int64_t)null_config_number(create->config_json, "overlap", 0);
  null_config_string(create->config_json, "known", "clean", rule, sizeof rule);
  self->known_rule = strcmp(rule, "renoise") == 0 ? MEDGEN_KNOWN_RENOISE : MEDGEN_KNOWN_CLEAN;
  if (self->axis < 0 || self->axis > 3 || self->window < 1 || self->overlap < 0 || self->overlap >= self->window) {
    free(self);
    return null_error(MEDGEN_E_INVALID, "axis must be from 0 to 3, window at least 1, overlap less than window");
  }
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy_propagator(medgen_obj_t* self) {
  free(self);
}

static void end(medgen_obj_t* self, medgen_obj_t* object) {
  (void)self;
  cover* c = (cover*)object;
  free(c->values);
  free(c->covered);
  free(c->known);
  free(c->mask);
  free(c);
}

/* Sizes come from the user's volume: multiply with care. */
static int times(int64_t* product, int64_t factor) {
  return factor > 0 && !__builtin_mul_overflow(*product, factor, product);
}

static medgen_status_t begin(const medgen_context_t* context, medgen_obj_t* object,
                             const medgen_cover_request_t* request, medgen_obj_t** out) {
  const propagator* self = (const propagator*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  const medgen_status_t status = null_enter(context, &self->fault, "begin", &mode, &done);
  if (done) return status;
  if (request->ndim > 4 || self->axis >= (int32_t)request->ndim) {
    return null_error(MEDGEN_E_INVALID, "cannot cut along axis %d of an array with %u axes", self->axis, request->ndim);
  }
  cover* c = calloc(1, sizeof *c);
  if (c == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  c->channels = request->channels;
  c->ndim = request->ndim;
  c->outer = 1;
  c->inner = 1;
  int fits = times(&c->outer, request->channels);
  for (int32_t axis = 0; axis < (int32_t)request->ndim; ++axis) {
    c->shape[axis] = request->shape[axis];
    if (axis < self->axis) fits = fits && times(&c->outer, request->shape[axis]);
    if (axis > self->axis) fits = fits && times(&c->inner, request->shape[axis]);
  }
  c->along = c->shape[self->axis];
  int64_t count = c->outer;
  fits = fits && times(&count, c->along) && times(&count, c->inner) && count <= INT64_MAX / (int64_t)sizeof(float);
  if (fits) {
    c->values = malloc((size_t)count * sizeof(float));
    c->known = malloc((size_t)count * sizeof(float));
    c->mask = malloc((size_t)(count / c->channels));
    c->covered = calloc((size_t)c->along, 1);
  }
  if (c->values == NULL || c->known == NULL || c->mask == NULL || c->covered == NULL) {
    end(object, (medgen_obj_t*)c);
    return fits ? null_error(MEDGEN_E_OUT_OF_MEMORY, "no memory for an array of %lld elements", (long long)count)
                : null_error(MEDGEN_E_INVALID, "the array is empty or too large");
  }
  *out = (medgen_obj_t*)c;
  return MEDGEN_OK;
}

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* The known slices are the first `known` ones of the window; the rest of the tensor is not looked at, and zero. */
static void lend_known(const propagator* self, cover* c, int64_t start, int64_t length, int64_t known,
                       medgen_window_t* w) {
  const size_t slice = (size_t)c->inner;
  for (int64_t o = 0; o < c->outer; ++o) {
    float* to = c->known + (size_t)(o * length) * slice;
    memset(to, 0, (size_t)length * slice * sizeof(float));
    memcpy(to, c->values + (size_t)(o * c->along + start) * slice, (size_t)known * slice * sizeof(float));
  }
  for (int64_t o = 0; o < c->outer / c->channels; ++o) {
    memset(c->mask + (size_t)(o * length) * slice, 1, (size_t)known * slice);
    memset(c->mask + (size_t)(o * length + known) * slice, 0, (size_t)(length - known) * slice);
  }
  c->known_shape[0] = c->channels;
  for (int64_t axis = 0; axis < c->ndim; ++axis) c->known_shape[axis + 1] = w->extent[axis];
  c->known_strides[c->ndim] = 1;
  for (int64_t axis = c->ndim; axis-- > 0;) {
    c->known_strides[axis] = c->known_strides[axis + 1] * c->known_shape[axis + 1];
  }
  c->known_tensor = (medgen_tensor_t){c->known,
                                      {MEDGEN_DEVICE_CPU, 0},
                                      (int32_t)c->ndim + 1,
                                      {MEDGEN_DTYPE_FLOAT, 32, 1},
                                      c->known_shape,
                                      c->known_strides,
                                      0};
  c->mask_tensor = (medgen_tensor_t){c->mask,
                                     {MEDGEN_DEVICE_CPU, 0},
                                     (int32_t)c->ndim,
                                     {MEDGEN_DTYPE_UINT, 8, 1},
                                     c->known_shape + 1,
                                     c->known_strides + 1,
                                     0};
  w->known_rule = self->known_rule;
  w->known = &c->known_tensor;
  w->known_mask = &c->mask_tensor;
}

static medgen_status_t next(const medgen_context_t* context, medgen_obj_t* object, medgen_obj_t* cover_object,
                            medgen_window_t* window, int32_t* finished) {
  const propagator* self = (const propagator*)object;
  cover* c = (cover*)cover_object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  const medgen_status_t status = null_enter(context, &self->fault, "next", &mode, &done);
  if (done) return status;
  *finished = c->next_start >= c->along;
  if (*finished) return MEDGEN_OK;
  if (c->waiting) return null_error(MEDGEN_E_STATE, "the next window needs the result of this one");

  const int64_t length = min64(self->window, c->along);
  const int64_t start = min64(c->next_start, c->along - length);
  int64_t known = 0;
  while (self->overlap > 0 && known < length && c->covered[start + known]) ++known;
  medgen_window_t result = {.flags = self->overlap == 0 ? MEDGEN_WINDOW_INDEPENDENT : 0,
                            .ndim = (uint32_t)c->ndim,
                            .order = {0, 1, 2, 3},
                            .conditions = {.struct_size = sizeof(medgen_binds_t)}};
  memcpy(result.extent, c->shape, sizeof result.extent);
  result.origin[self->axis] = mode == NULL_MODE_GARBAGE_SHAPE ? c->along : start;
  result.extent[self->axis] = length;
  if (known > 0) lend_known(self, c, start, length, known, &result);
  if (known > 0 && mode == NULL_MODE_NAN) c->known[0] = NAN;
  c->waiting = self->overlap > 0;
  c->next_start = start + length == c->along ? c->along : start + length - self->overlap;
  null_copy_out(window, &result, sizeof result);
  return MEDGEN_OK;
}

static medgen_status_t accept(const medgen_context_t* context, medgen_obj_t* object, medgen_obj_t* cover_object,
                              const medgen_window_t* window, const medgen_tensor_t* tensor) {
  const propagator* self = (const propagator*)object;
  cover* c = (cover*)cover_object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "accept", &mode, &done);
  if (done) return status;
  if ((status = null_check_float(tensor, "result")) != MEDGEN_OK) return status;
  const int64_t start = window->origin[self->axis];
  const int64_t length = window->extent[self->axis];
  if (start < 0 || length < 0 || start > c->along - length || null_count(tensor) != c->outer * length * c->inner) {
    return null_error(MEDGEN_E_INVALID, "the result is not that of a window of this cover");
  }
  const float* from = null_data(tensor);
  for (int64_t o = 0; o < c->outer; ++o) {
    memcpy(c->values + (o * c->along + start) * c->inner, from + o * length * c->inner,
           (size_t)(length * c->inner) * sizeof(float));
  }
  memset(c->covered + start, 1, (size_t)length);
  c->waiting = 0;
  return MEDGEN_OK;
}

static medgen_status_t finish(const medgen_context_t* context, medgen_obj_t* object, medgen_obj_t* cover_object,
                              const medgen_outputs_t* out) {
  const propagator* self = (const propagator*)object;
  const cover* c = (const cover*)cover_object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "finish", &mode, &done);
  if (done) return status;
  const uint8_t* gap = memchr(c->covered, 0, (size_t)c->along);
  if (gap != NULL) return null_error(MEDGEN_E_STATE, "slice %lld is not covered", (long long)(gap - c->covered));
  int64_t shape[5] = {c->channels};
  memcpy(shape + 1, c->shape, sizeof c->shape);
  const medgen_dtype_t float32 = {MEDGEN_DTYPE_FLOAT, 32, 1};
  medgen_tensor_t x;
  const int32_t ndim = (int32_t)c->ndim + (mode == NULL_MODE_GARBAGE_SHAPE ? 0 : 1);
  if ((status = null_allocate(out, "x", float32, ndim, shape, &x)) != MEDGEN_OK) return status;
  memcpy(null_data(&x), c->values, (size_t)null_count(&x) * sizeof(float));
  if (mode == NULL_MODE_NAN) *(float*)null_data(&x) = NAN;
  return MEDGEN_OK;
}

static uint64_t count(medgen_obj_t* object, const medgen_cover_request_t* request) {
  const propagator* self = (const propagator*)object;
  if (self->axis >= (int32_t)request->ndim) return 0;
  const int64_t rest = request->shape[self->axis] - self->window;
  const int64_t stride = self->window - self->overlap;
  return rest <= 0 ? 1 : 1 + (uint64_t)((rest + stride - 1) / stride);
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_BITWISE,
    .create = create_propagator,
    .destroy = destroy_propagator,
};

static const medgen_propagator_t interface = {
    .struct_size = sizeof(medgen_propagator_t),
    .begin = begin,
    .next = next,
    .accept = accept,
    .finish = finish,
    .end = end,
    .count = count,
};

const medgen_component_desc_t null_propagator_desc = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = NULL_STR("null.propagator"),
    .kind = NULL_STR(MEDGEN_PROPAGATOR_1),
    .summary = NULL_STR("Covers the array in windows along one axis."),
    .config_schema_json =
        NULL_STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
                 "\"axis\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 3, \"default\": 0},"
                 "\"window\": {\"type\": \"integer\", \"minimum\": 1, \"default\": 16},"
                 "\"overlap\": {\"type\": \"integer\", \"minimum\": 0, \"default\": 0},"
                 "\"known\": {\"enum\": [\"clean\", \"renoise\"], \"default\": \"clean\"}," NULL_FAULT_SCHEMA "}}"),
    .io_json = NULL_STR("{}"),
    .base = &base,
    .interface = &interface,
};
