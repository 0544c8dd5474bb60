/* SPDX-License-Identifier: Apache-2.0
 * null.denoiser: out = scale x. A component is an object with `create` and `destroy`, and the functions of its kind. */
#include "plugins/null/null.h"

#include <math.h>
#include <stdlib.h>

/* The object. The host sees a pointer to it as medgen_obj_t, and never looks inside. */
typedef struct denoiser {
  null_fault fault;
  null_cost cost;
  float scale;
} denoiser;

/* The config has been checked against the schema below and has its defaults filled in. What is needed later is copied:
 * the texts in `create` live only for this call. */
static medgen_status_t create_denoiser(const medgen_create_t* create, medgen_obj_t** out) {
  denoiser* self = calloc(1, sizeof *self);
  if (self == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  null_read_fault(create->config_json, &self->fault);
  null_read_cost(create->config_json, create->memory_budget, &self->cost);
  self->scale = (float)null_config_number(create->config_json, "scale", 1.0);
  if (null_mode_in(&self->fault, "create") == NULL_MODE_FAIL) {
    free(self);
    return null_error(MEDGEN_E_INVALID, "create fails, as the config asks");
  }
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy_denoiser(medgen_obj_t* self) {
  free(self);
}

static medgen_status_t describe_denoiser(medgen_obj_t* self, const medgen_writer_t* json) {
  (void)self;
  return null_write(json, "{\"parameters\": 0}");
}

/* Inputs are found by name and belong to the host. The output is named by us, allocated by the host, and filled by us.
 * Every assumption about an input is checked: a wrong one is an error with a text, never a crash. */
static medgen_status_t predict(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                               const medgen_outputs_t* out) {
  const denoiser* self = (const denoiser*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "predict", &mode, &done);
  if (done) return status;

  const medgen_tensor_t* x = null_find(in, "x");
  if (x == NULL) return MEDGEN_E_NOT_FOUND;
  if ((status = null_check_float(x, "x")) != MEDGEN_OK) return status;

  medgen_tensor_t result;
  const int32_t ndim = mode == NULL_MODE_GARBAGE_SHAPE ? x->ndim - 1 : x->ndim;
  if ((status = null_allocate(out, "out", x->dtype, ndim, x->shape, &result)) != MEDGEN_OK) return status;

  const float* from = null_data(x);
  float* to = null_data(&result);
  const int64_t count = null_count(&result);
  for (int64_t i = 0; i < count; ++i) to[i] = mode == NULL_MODE_NAN ? NAN : self->scale * from[i];
  return MEDGEN_OK;
}

static medgen_status_t estimate(medgen_obj_t* object, medgen_str_t request, const medgen_writer_t* json) {
  const denoiser* self = (const denoiser*)object;
  (void)request;
  return null_estimate(&self->fault, &self->cost, json);
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE,
    .create = create_denoiser,
    .destroy = destroy_denoiser,
    .describe = describe_denoiser,
    .estimate = estimate,
};

/* `prepare` is optional and stays NULL. */
static const medgen_denoiser_t interface = {.struct_size = sizeof(medgen_denoiser_t), .predict = predict};

const medgen_component_desc_t null_denoiser_desc = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = NULL_STR("null.denoiser"),
    .kind = NULL_STR(MEDGEN_DENOISER_1),
    .summary = NULL_STR("Multiplies its input."),
    .config_schema_json =
        NULL_STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
                 "\"scale\": {\"type\": \"number\", \"default\": 1}," NULL_COST_SCHEMA "," NULL_FAULT_SCHEMA "}}"),
    .io_json = NULL_STR("{\"functions\": {\"predict\": {"
                        "\"in\": {\"x\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}},"
                        "\"out\": {\"out\": {\"dtype\": \"float32\", \"shape\": [\"N\", \"C\", \"...\"]}}}}}"),
    .base = &base,
    .interface = &interface,
};
