/* SPDX-License-Identifier: Apache-2.0
 * What all components have in common: description, creation from a JSON config and weights, destruction. */
#ifndef MEDGEN_ABI_COMPONENT_H
#define MEDGEN_ABI_COMPONENT_H

#include <medgen/abi/host.h>
#include <medgen/abi/weights.h>

MEDGEN_EXTERN_C_BEGIN

/* Interface ids: the kind of a component, and its table's revision. A table is frozen once its revision has shipped. */
#define MEDGEN_SCHEDULER_1 "medgen.scheduler/1"
#define MEDGEN_DENOISER_1 "medgen.denoiser/1"
#define MEDGEN_CONDITIONER_1 "medgen.conditioner/1"
#define MEDGEN_COMPRESSOR_1 "medgen.compressor/1"
#define MEDGEN_PROPAGATOR_1 "medgen.propagator/1"

/* What may be called at the same time. Default (0): one call at a time on the whole plugin. */
#define MEDGEN_THREADS_INSTANCE 1u  /* different objects at the same time */
#define MEDGEN_THREADS_REENTRANT 2u /* also the same object */
#define MEDGEN_BITWISE 256u /* claims: same inputs, same bits, for any thread count (a claim the checker tests) */

typedef struct medgen_create {
  uint32_t struct_size;
  uint32_t precision; /* MEDGEN_PRECISION_* the host wants computed in; a component may use a better one */
  const medgen_ext_t* ext;
  const medgen_host_t* host;
  const medgen_weights_t* weights; /* NULL: none were given (a component without weights, or training from scratch) */
  medgen_str_t config_json;        /* validated against the component's schema, defaults filled in */
  medgen_device_t device;
  uint64_t memory_budget; /* bytes, 0 = none */
} medgen_create_t;

typedef struct medgen_component {
  uint32_t struct_size;
  uint32_t flags; /* MEDGEN_THREADS_*, MEDGEN_BITWISE */
  /* [serial] on the plugin unless flagged */
  medgen_status_t (*create)(const medgen_create_t* create, medgen_obj_t** out) MEDGEN_NOEXCEPT;
  void (*destroy)(medgen_obj_t* self) MEDGEN_NOEXCEPT;
  /* Optional. Writes a JSON object of facts resolved from the config (docs/abi.md lists the keys the host reads:
   * latent_channels, compression, parameters ...). */
  medgen_status_t (*describe)(medgen_obj_t* self, const medgen_writer_t* json) MEDGEN_NOEXCEPT;
  /* Optional. Predicts the cost of one function: request {"function","inputs":{name:shape}} -> {"peak_bytes","flops"}.
   */
  medgen_status_t (*estimate)(medgen_obj_t* self, medgen_str_t request_json,
                              const medgen_writer_t* json) MEDGEN_NOEXCEPT;
  /* Optional. Frees what can be made again; level 0 caches, 1 everything but weights, 2 weights on the device too. */
  medgen_status_t (*trim)(const medgen_context_t* ctx, medgen_obj_t* self, int32_t level) MEDGEN_NOEXCEPT;
  /* Optional. Extension tables by id ("medgen.train/1"), NULL when unknown. [any] */
  const void* (*get_extension)(const char* id)MEDGEN_NOEXCEPT;
} medgen_component_t;

/* Shape of every computing function: named tensors in, named tensors out. */
typedef medgen_status_t (*medgen_compute_fn)(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_binds_t* in,
                                             const medgen_outputs_t* out) MEDGEN_NOEXCEPT;

MEDGEN_EXTERN_C_END
#endif
