/* SPDX-License-Identifier: Apache-2.0
 * The smallest plugin, in plain C: one component of each kind, each doing the least that makes sense. It is the test
 * double of the host, and it is meant to be read: start with plugin.c, then denoiser.c, which has the most remarks.
 *
 * Every component takes two config keys that make it misbehave on purpose: "fail" names a function ("predict"), "mode"
 * says what that function does instead of its work (see null_mode). */
#ifndef MEDGEN_PLUGINS_NULL_H
#define MEDGEN_PLUGINS_NULL_H

#include <medgen/abi/medgen.h>

/* What "mode" can be. */
typedef enum null_mode {
  NULL_MODE_OK,            /* works */
  NULL_MODE_FAIL,          /* returns an error with a text */
  NULL_MODE_GARBAGE_SHAPE, /* gives an output of the wrong shape, or numbers that cannot be */
  NULL_MODE_NAN,           /* gives NaN */
  NULL_MODE_SLOW,          /* works for "slow_ms" before it does its work, and listens to cancel */
  NULL_MODE_BAD_STATUS,    /* returns a status that does not exist */
  NULL_MODE_NO_OUTPUT      /* succeeds without giving anything */
} null_mode;

/* How an object misbehaves: the first member of every object. */
typedef struct null_fault {
  char function[32];
  null_mode mode;
  double slow_ms;
} null_fault;

/* Part of every config schema. */
#define NULL_FAULT_SCHEMA                                                                                         \
  "\"fail\": {\"type\": \"string\", \"default\": \"\", \"description\": \"the function that misbehaves\"},"       \
  "\"mode\": {\"enum\": [\"ok\", \"fail\", \"garbage-shape\", \"nan\", \"slow\", \"bad-status\", \"no-output\"]," \
  "  \"default\": \"ok\", \"description\": \"how it misbehaves\"},"                                               \
  "\"slow_ms\": {\"type\": \"number\", \"minimum\": 0, \"default\": 10000, \"description\": \"how slow is slow\"}"

/* What "estimate" writes, from the config: the tests' way to make a step as large as they like. */
typedef struct null_cost {
  double peak_bytes; /* is less with a memory budget: half of it, if that suffices */
  double weights_bytes;
  double scratch_bytes;
  double flops;
  char reply[128]; /* written in place of it all when it is not empty */
} null_cost;

/* Part of the config schemas of denoiser, conditioner and compressor. */
#define NULL_COST_SCHEMA                                                                                            \
  "\"peak_bytes\": {\"type\": \"number\", \"default\": 0, \"description\": \"what estimate says a call takes\"},"   \
  "\"weights_bytes\": {\"type\": \"number\", \"default\": 0, \"description\": \"what it says it holds\"},"          \
  "\"scratch_bytes\": {\"type\": \"number\", \"default\": 0, \"description\": \"what it says it writes\"},"         \
  "\"flops\": {\"type\": \"number\", \"default\": 0, \"description\": \"what it says it computes; 1e9 a second\"}," \
  "\"estimate\": {\"type\": \"string\", \"default\": \"\", \"description\": \"what it writes instead\"}"

/* A string constant as the ABI wants it; usable in initialisers of static tables. */
#define NULL_STR(literal) \
  { literal, sizeof(literal) - 1 }

extern const medgen_component_desc_t null_scheduler_desc;
extern const medgen_component_desc_t null_denoiser_desc;
extern const medgen_component_desc_t null_conditioner_desc;
extern const medgen_component_desc_t null_compressor_desc;
extern const medgen_component_desc_t null_propagator_desc;

/* --- host.c: talking to the host --- */

void null_set_host(const medgen_host_t* host);

/* Hands the text to the host and returns the status, so that errors are one line: return null_error(status, "..."). */
medgen_status_t null_error(medgen_status_t status, const char* format, ...) __attribute__((format(printf, 2, 3)));

/* The tensor of that name, NULL with the error set when it is missing. */
const medgen_tensor_t* null_find(const medgen_binds_t* binds, const char* name);

/* Asks the host for the output `name`. */
medgen_status_t null_allocate(const medgen_outputs_t* outputs, const char* name, medgen_dtype_t dtype, int32_t ndim,
                              const int64_t* shape, medgen_tensor_t* out);

/* MEDGEN_OK when the tensor is contiguous float32 on the CPU, which is all this plugin reads. */
medgen_status_t null_check_float(const medgen_tensor_t* tensor, const char* name);

int64_t null_count(const medgen_tensor_t* tensor);
int null_is_contiguous(const medgen_tensor_t* tensor);
void* null_data(const medgen_tensor_t* tensor);

/* Noise from the host. */
medgen_status_t null_fill_noise(const medgen_context_t* context, const char* purpose, medgen_tensor_t* tensor);

/* Tells the host how far a long call is; 0 when the call is to stop. */
int null_progress(const medgen_context_t* context, uint64_t done, uint64_t total);

/* Fills a struct of the host, which may know fewer or more fields than we do. `size` is our sizeof; the host's
 * struct_size stays. */
void null_copy_out(void* out, const void* value, uint32_t size);

/* Writes a text to the host's writer. */
medgen_status_t null_write(const medgen_writer_t* writer, const char* text);

/* --- fault.c: misbehaving --- */

void null_read_fault(medgen_str_t config, null_fault* fault);

/* NULL_MODE_OK unless the object is to misbehave in this function. */
null_mode null_mode_in(const null_fault* fault, const char* function);

/* What every computing function begins with. *done is 1 when the function is to return the result at once; otherwise
 * *mode says what is left to spoil: OK, GARBAGE_SHAPE or NAN. `context` may be NULL. */
medgen_status_t null_enter(const medgen_context_t* context, const null_fault* fault, const char* function,
                           null_mode* mode, int* done);

/* --- cost.c: predicting --- */

/* `budget` is the host's, 0 for none. */
void null_read_cost(medgen_str_t config, uint64_t budget, null_cost* cost);

/* What every `estimate` does. */
medgen_status_t null_estimate(const null_fault* fault, const null_cost* cost, const medgen_writer_t* json);

/* --- config.c: reading a flat JSON object that the host has validated --- */

double null_config_number(medgen_str_t config, const char* key, double fallback);
/* Copies at most capacity - 1 bytes; keeps the fallback when the key is absent. */
void null_config_string(medgen_str_t config, const char* key, const char* fallback, char* out, uint64_t capacity);

#endif
