/* SPDX-License-Identifier: Apache-2.0
 * null.scheduler: x_t = (1 - t) x0 + t eps for t from 1 to 0 in equal steps; the denoiser predicts x0. With one step
 * the result is the denoiser's output, which is how one-step generators run. */
#include "plugins/null/null.h"

#include <math.h>
#include <stdlib.h>

typedef struct scheduler {
  null_fault fault;
} scheduler;

/* A run is an object of its own, so that several processes can go on at once. */
typedef struct run {
  uint64_t count;
  double times[];
} run;

static medgen_status_t create_scheduler(const medgen_create_t* create, medgen_obj_t** out) {
  scheduler* self = calloc(1, sizeof *self);
  if (self == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  null_read_fault(create->config_json, &self->fault);
  *out = (medgen_obj_t*)self;
  return MEDGEN_OK;
}

static void destroy_scheduler(medgen_obj_t* self) {
  free(self);
}

static medgen_status_t check_request(const medgen_schedule_request_t* request) {
  if (request->n_timesteps > 0) {
    for (uint64_t i = 0; i < request->n_timesteps; ++i) {
      const double above = i == 0 ? 1.0 + 1e-12 : request->timesteps[i - 1];
      if (!(request->timesteps[i] > 0.0 && request->timesteps[i] < above)) {
        return null_error(MEDGEN_E_INVALID, "timesteps must descend from at most 1 and stay above 0");
      }
    }
    return MEDGEN_OK;
  }
  if (request->steps < 1 || request->steps > 100000) {
    return null_error(MEDGEN_E_INVALID, "%u steps were asked for, from 1 to 100000 are possible", request->steps);
  }
  if (!(request->start > 0.0 && request->start <= 1.0)) {
    return null_error(MEDGEN_E_INVALID, "start is %g, expected above 0 and at most 1", request->start);
  }
  return MEDGEN_OK;
}

static medgen_status_t begin(medgen_obj_t* object, const medgen_schedule_request_t* request, medgen_obj_t** out) {
  const scheduler* self = (const scheduler*)object;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  medgen_status_t status = null_enter(NULL, &self->fault, "begin", &mode, &done);
  if (done) return status;
  if ((status = check_request(request)) != MEDGEN_OK) return status;

  const uint64_t count = request->n_timesteps > 0 ? request->n_timesteps : request->steps;
  run* process = malloc(sizeof *process + count * sizeof process->times[0]);
  if (process == NULL) return null_error(MEDGEN_E_OUT_OF_MEMORY, "out of memory");
  process->count = mode == NULL_MODE_GARBAGE_SHAPE ? 0 : count;
  for (uint64_t i = 0; i < count; ++i) {
    const double even = request->start * (double)(count - i) / (double)count;
    process->times[i] = mode == NULL_MODE_NAN ? NAN : request->n_timesteps > 0 ? request->timesteps[i] : even;
  }
  *out = (medgen_obj_t*)process;
  return MEDGEN_OK;
}

static void end(medgen_obj_t* self, medgen_obj_t* process) {
  (void)self;
  free(process);
}

static medgen_status_t timesteps(medgen_obj_t* self, medgen_obj_t* process, const double** t, uint64_t* n) {
  (void)self;
  *t = ((const run*)process)->times;
  *n = ((const run*)process)->count;
  return MEDGEN_OK;
}

/* With u = t'/t: the noise shrinks by u, so next = u x + (1 - u) x0, and x0 is the denoiser's output m. */
static medgen_status_t update(medgen_obj_t* object, medgen_obj_t* process, uint64_t i, medgen_update_t* out) {
  const scheduler* self = (const scheduler*)object;
  const run* r = (const run*)process;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  const medgen_status_t status = null_enter(NULL, &self->fault, "update", &mode, &done);
  if (done) return status;
  if (i >= r->count) return null_error(MEDGEN_E_INVALID, "there is no evaluation %llu", (unsigned long long)i);

  const double shrink = i + 1 < r->count ? r->times[i + 1] / r->times[i] : 0.0;
  const medgen_update_t result = {
      .x0_m = 1.0,
      .x = mode == NULL_MODE_NAN ? NAN : shrink,
      .x0 = 1.0 - shrink,
      .keep_x = mode == NULL_MODE_GARBAGE_SHAPE ? MEDGEN_HISTORY : -1,
      .keep_m = -1,
      .keep_x0 = -1,
      .completes_step = 1,
  };
  null_copy_out(out, &result, sizeof result);
  return MEDGEN_OK;
}

static medgen_status_t level(medgen_obj_t* object, medgen_obj_t* process, double t, medgen_level_t* out) {
  const scheduler* self = (const scheduler*)object;
  (void)process;
  null_mode mode = NULL_MODE_OK;
  int done = 0;
  const medgen_status_t status = null_enter(NULL, &self->fault, "level", &mode, &done);
  if (done) return status;
  if (!(t >= 0.0 && t <= 1.0)) return null_error(MEDGEN_E_INVALID, "time %g is outside 0 to 1", t);
  const medgen_level_t result = {
      .alpha = mode == NULL_MODE_NAN ? NAN : 1.0 - t, .sigma = t, .target_x0 = 1.0, .x0_m = 1.0};
  null_copy_out(out, &result, sizeof result);
  return MEDGEN_OK;
}

static medgen_status_t training_time(medgen_obj_t* self, const medgen_schedule_request_t* request, double u,
                                     double* t) {
  (void)self;
  (void)request;
  *t = u;
  return MEDGEN_OK;
}

static const medgen_component_t base = {
    .struct_size = sizeof(medgen_component_t),
    .flags = MEDGEN_THREADS_INSTANCE | MEDGEN_THREADS_REENTRANT | MEDGEN_BITWISE,
    .create = create_scheduler,
    .destroy = destroy_scheduler,
};

static const medgen_scheduler_t interface = {
    .struct_size = sizeof(medgen_scheduler_t),
    .begin = begin,
    .end = end,
    .timesteps = timesteps,
    .update = update,
    .level = level,
    .training_time = training_time,
};

const medgen_component_desc_t null_scheduler_desc = {
    .struct_size = sizeof(medgen_component_desc_t),
    .id = NULL_STR("null.scheduler"),
    .kind = NULL_STR(MEDGEN_SCHEDULER_1),
    .summary = NULL_STR("Equal steps from noise to the denoiser's output."),
    .config_schema_json =
        NULL_STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {" NULL_FAULT_SCHEMA "}}"),
    .io_json = NULL_STR("{}"),
    .base = &base,
    .interface = &interface,
};
