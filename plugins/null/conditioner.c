/* SPDX-License-Identifier: Apache-2.0
 * null.conditioner: gives the user's "mask" on as a condition; zeros when the host asks for the unconditional one. */
#include "plugins/null/null.h"

#include <stdlib.h>
#include <string.h>

typedef struct conditioner {
  null_fault fault;
  null_cost cost;
} conditioner;

static medgen_status_t create_conditioner(const medgen_create_t* create, medgen_obj_t** out) {
  conditioner* self = calloc(1, sizeof *self);
  if (self == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  null_read_fault(create->config_json, &self->fault);
  null_read_cost(create->config_json, create->memory_budget, &self->cost);
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy_conditioner(medgen_obj_t* self) {
  free(self);
}

static medgen_status_t encode(const medgen_context_t* context, medgen_obj_t* object, const medgen_binds_t* in,
                              const medgen_outputs_t* out) {
  const conditioner* self = (const conditioner*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(context, &self->fault, "encode", &mode, &done);
  if (done) return status;

  const medgen_tensor_t* mask = null_find(in, "mask");
  if (mask == NULL) return MEDGEN_E_NOT_FOUND;
  if (mask->device.type == MEDGEN_DEVICE_CUDA || !null_is_contiguous(mask)) {
    return null_error(MEDGEN_E_UNSUPPORTED, "mask is not a contiguous tensor on the CPU");
  }
  medgen_tensor_t result;
  const int32_t ndim = mode == NULL_MODE_GARBAGE_SHAPE ? 0 : mask->ndim;
  if ((status = null_allocate(out, "mask", mask->dtype, ndim, mask->shape, &result)) != MEDGEN_OK) return status;
  const size_t bytes = (size_t)null_count(&result) * ((mask->dtype.bits + 7u) / 8u);
  if ((context->flags & MEDGEN_CALL_UNCONDITIONAL) != 0) {
    memset(null_data(&result), 0, bytes);
  } else {
    /* All bits set is a NaN in every float format. */
    if (mode == NULL_MODE_NAN) memset(null_data(&result), 0xff, bytes);
    if (mode != NULL_MODE_NAN) memcpy(null_data(&result), null_data(mask), bytes);
  }
  return MEDGEN_OK;
}

static medgen_status_t estimate(medgen_obj_t* object, medgen_str_t request, const medgen_writer_t* json) {
  const conditioner* self = (const conditioner*)object;
  (void)request;
  return null_estimate(&self->fault, &self->cost, json);
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE,
    .create = create_conditioner,
    .destroy = destroy_conditioner,
    .estimate = estimate,
};

/* `step` stays NULL: there is nothing to do at every evaluation. */
static const medgen_conditioner_t interface = {.struct_size = sizeof(medgen_conditioner_t), .encode = encode};

const medgen_component_desc_t null_conditioner_desc = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = NULL_STR("null.conditioner"),
    .kind = NULL_STR(MEDGEN_CONDITIONER_1),
    .summary = NULL_STR("Gives the mask on as a condition."),
    .config_schema_json =
        NULL_STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {" NULL_COST_SCHEMA
                 "," NULL_FAULT_SCHEMA "}}"),
    .io_json = NULL_STR("{\"functions\": {\"encode\": {"
                        "\"in\": {\"mask\": {\"shape\": [\"N\", \"C\", \"...\"]}},"
                        "\"out\": {\"mask\": {\"shape\": [\"N\", \"C\", \"...\"]}}}}}"),
    .base = &base,
    .interface = &interface,
};
