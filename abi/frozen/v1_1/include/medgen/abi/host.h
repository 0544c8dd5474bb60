/* SPDX-License-Identifier: Apache-2.0
 * What the host offers: the call context that comes with every call, and the table of services. Both only grow. */
#ifndef MEDGEN_ABI_HOST_H
#define MEDGEN_ABI_HOST_H

#include <medgen/abi/tensor.h>

MEDGEN_EXTERN_C_BEGIN

#define MEDGEN_CALL_DETERMINISTIC 1u /* same inputs, same bits: obey or return MEDGEN_E_NONDETERMINISTIC */
#define MEDGEN_CALL_CAPTURING 2u     /* a device graph is being captured: no allocation, no synchronisation */
#define MEDGEN_CALL_TRAINING 4u
#define MEDGEN_CALL_UNCONDITIONAL 8u /* conditioners: give the null condition of classifier-free guidance */

#define MEDGEN_PRECISION_FP32 0
#define MEDGEN_PRECISION_BF16 1
#define MEDGEN_PRECISION_FP16 2

/* One per call, made by the host, borrowed for the call. Work queued on `stream` may outlive the call; results are
 * valid in stream order. */
typedef struct medgen_context {
  uint32_t struct_size;
  uint32_t flags; /* MEDGEN_CALL_* */
  const medgen_ext_t* ext;
  medgen_hobj_t* host;
  medgen_device_t device;
  void* stream;    /* cudaStream_t; NULL only on the CPU */
  uint64_t seed;   /* noise is a function of (seed, sample, purpose, step, element): see fill_noise */
  uint32_t sample; /* index of the first sample of the batch */
  uint32_t step;
  uint64_t deadline_ns; /* CLOCK_MONOTONIC, 0 = none */
  uint64_t call_id;
} medgen_context_t;

#define MEDGEN_LOG_ERROR 0
#define MEDGEN_LOG_WARN 1
#define MEDGEN_LOG_INFO 2
#define MEDGEN_LOG_DEBUG 3

#define MEDGEN_NOISE_NORMAL 0  /* N(0,1) */
#define MEDGEN_NOISE_UNIFORM 1 /* [0,1) */

/* Lives as long as the plugin is initialised. Optional slots may be NULL: test with MEDGEN_HAS_FN. */
typedef struct medgen_host {
  uint32_t struct_size;
  uint32_t abi_minor;
  const medgen_ext_t* ext;
  medgen_hobj_t* host;
  /* Extension tables by id ("medgen.preview/1"), NULL when unknown. [any] */
  const void* (*get_extension)(medgen_hobj_t* host, const char* id)MEDGEN_NOEXCEPT;
  /* The text that belongs to the status the plugin is about to return on this thread; copied. [any] */
  void (*set_error)(medgen_hobj_t* host, medgen_status_t status, medgen_str_t message) MEDGEN_NOEXCEPT;
  /* [any] */
  void (*log)(medgen_hobj_t* host, int32_t level, medgen_str_t message) MEDGEN_NOEXCEPT;
  /* Progress inside one long call. Returns 0 when the call should stop and return MEDGEN_E_CANCELLED. [serial] */
  int32_t (*progress)(const medgen_context_t* ctx, medgen_str_t phase, uint64_t done, uint64_t total) MEDGEN_NOEXCEPT;
  /* Fills a float32 or float64 tensor whose axis 0 is the batch. Element e of batch row b depends on nothing but
   * (ctx->seed, ctx->sample + b, purpose, ctx->step, e), on every device (docs/numerics.md). [any] */
  medgen_status_t (*fill_noise)(const medgen_context_t* ctx, int32_t distribution, medgen_str_t purpose,
                                medgen_tensor_t* inout) MEDGEN_NOEXCEPT;
  /* Memory on ctx->device that lives until the call returns. */
  medgen_status_t (*scratch)(const medgen_context_t* ctx, uint64_t bytes, void** ptr) MEDGEN_NOEXCEPT;
  /* Runs fn(arg, 0..n-1) on the host's threads and waits. [serial] */
  medgen_status_t (*parallel_for)(medgen_hobj_t* host, uint64_t n, void (*fn)(void* arg, uint64_t i),
                                  void* arg) MEDGEN_NOEXCEPT;
  /* Threads a component may use inside a call. [any] */
  uint32_t (*thread_count)(medgen_hobj_t* host) MEDGEN_NOEXCEPT;
  /* Named ranges for traces (NVTX, --trace). Nest properly. [any] */
  void (*range_push)(medgen_hobj_t* host, medgen_str_t name) MEDGEN_NOEXCEPT;
  void (*range_pop)(medgen_hobj_t* host) MEDGEN_NOEXCEPT;
} medgen_host_t;

MEDGEN_EXTERN_C_END
#endif
