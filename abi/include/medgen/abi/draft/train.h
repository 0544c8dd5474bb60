/* SPDX-License-Identifier: Apache-2.0
 * DRAFT medgen.train/1, a component extension: the plugin computes losses, gradients and updates; the host owns data,
 * loop, noise, learning rates, checkpoints and the exchange of gradients. May change without notice until it leaves
 * draft/; its id will not. */
#ifndef MEDGEN_ABI_DRAFT_TRAIN_H
#define MEDGEN_ABI_DRAFT_TRAIN_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

#define MEDGEN_TRAIN_1 "medgen.train/1"
#define MEDGEN_GRADIENTS_1 "medgen.gradients/1"

/* What `save` and `load` move; bits. Tensor names are "weights/<name>", "ema/<name>", "optimizer/<name>/<slot>". What
 * training needs beside the model, such as a discriminator, is part of the optimiser's state. GRADIENTS, of `save`
 * alone: the mean of those gathered since the last `apply`, "gradients/<name>"; of such a helper under its own name
 * before that, "discriminator/gradients/<name>". One tensor passes after the other, so that neither side holds a copy
 * of the state. */
#define MEDGEN_TRAIN_WEIGHTS 1u
#define MEDGEN_TRAIN_EMA 2u
#define MEDGEN_TRAIN_OPTIMIZER 4u
#define MEDGEN_TRAIN_GRADIENTS 8u

/* Where `save` puts tensors: on the CPU, with any strides, borrowed until `put` returns. Each name once. An error that
 * `put` returns ends `save`, which returns the same. [serial] */
typedef struct medgen_state_sink {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  medgen_status_t (*put)(medgen_hobj_t* host, medgen_str_t name, const medgen_tensor_t* tensor) MEDGEN_NOEXCEPT;
} medgen_state_sink_t;

/* Where `load` gets them: row-major on the CPU, read-only, lent until the next `get` or the end of `load`.
 * MEDGEN_E_NOT_FOUND for a name that is not there. [serial] */
typedef struct medgen_state_source {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_hobj_t* host;
  medgen_status_t (*get)(medgen_hobj_t* host, medgen_str_t name, medgen_tensor_t* out) MEDGEN_NOEXCEPT;
} medgen_state_source_t;

/* Another component of the same plugin that takes part in the graph (a ControlNet in front of its U-Net). */
typedef struct medgen_train_peer {
  medgen_str_t role; /* "controlnet" */
  medgen_obj_t* object;
  uint32_t trained; /* 0 = frozen */
  uint32_t reserved0;
} medgen_train_peer_t;

/* Of the table below; a host refuses others. */
#define MEDGEN_TRAIN_DRAFT 2u

typedef struct medgen_train {
  uint32_t struct_size;
  uint32_t draft; /* MEDGEN_TRAIN_DRAFT */
  /* JSON Schema of what `begin` accepts in options_json. */
  medgen_str_t options_schema_json;
  /* Makes the object trainable: optimiser, EMA, loss. Weights the object was created without are initialised from
   * ctx->seed. */
  medgen_status_t (*begin)(const medgen_context_t* ctx, medgen_obj_t* self, medgen_str_t options_json, uint32_t n_peers,
                           uint32_t reserved, const medgen_train_peer_t* peers, medgen_obj_t** trainer) MEDGEN_NOEXCEPT;
  /* Forward, loss and backward on one batch; gradients add up until `apply`. Batch names are those of the component's
   * function, with "target" (denoisers) or "x" (compressors), and "weight" where losses are weighted.
   * out: "loss" (1) float32 and further named scalars for the log. */
  medgen_status_t (*step)(const medgen_context_t* ctx, medgen_obj_t* trainer, const medgen_binds_t* batch,
                          const medgen_outputs_t* out) MEDGEN_NOEXCEPT;
  /* One optimiser step with the gradients gathered so far, then the EMA; gradients are cleared. */
  medgen_status_t (*apply)(const medgen_context_t* ctx, medgen_obj_t* trainer, double learning_rate) MEDGEN_NOEXCEPT;
  /* Changes nothing: called again without a step in between, it puts the same tensors in the same order. */
  medgen_status_t (*save)(const medgen_context_t* ctx, medgen_obj_t* trainer, uint32_t what,
                          const medgen_state_sink_t* to) MEDGEN_NOEXCEPT;
  medgen_status_t (*load)(const medgen_context_t* ctx, medgen_obj_t* trainer, uint32_t what,
                          const medgen_state_source_t* from) MEDGEN_NOEXCEPT;
  void (*end)(medgen_obj_t* trainer) MEDGEN_NOEXCEPT;
  /* The scalars of `step` for one batch, with the averaged weights where there are any, without gradients and without
   * what is random in training alone; nothing of the trainer changes. May be NULL: then there is no validation. */
  medgen_status_t (*evaluate)(const medgen_context_t* ctx, medgen_obj_t* trainer, const medgen_binds_t* batch,
                              const medgen_outputs_t* out) MEDGEN_NOEXCEPT;
  /* Whether `begin` would take these options and peers, as far as that can be told of objects that may have no weights
   * yet: before anything is read or trained. Nothing of them changes. May be NULL: then `begin` tells. */
  medgen_status_t (*check)(const medgen_context_t* ctx, medgen_obj_t* self, medgen_str_t options_json, uint32_t n_peers,
                           uint32_t reserved, const medgen_train_peer_t* peers) MEDGEN_NOEXCEPT;
} medgen_train_t;

/* MEDGEN_GRADIENTS_1, an extension of the host: where several processes train together, each has `step` compute its
 * share of the batch (ctx->sample is the row of the global batch that comes first) and hands the gradients over, bucket
 * by bucket while the backward pass goes on. A trainer that does not ask for it trains in one process only: the host
 * notices and ends the training. */
typedef struct medgen_gradients {
  uint32_t struct_size;
  uint32_t reserved0;
  /* The weight of this process's share in the mean over the batch, in (0, 1): gradients are multiplied by it before
   * they are handed over. 0 where nothing is to be exchanged in this call: one process alone, or batches gathered
   * before the last of an optimiser step. [any] */
  double (*share)(const medgen_context_t* ctx) MEDGEN_NOEXCEPT;
  /* Begins to replace a dense float32 tensor by its sum over all processes, in ctx->stream order, and returns. The
   * memory is the host's until `finish`. Every process hands over the same sizes in the same order. [inside step] */
  medgen_status_t (*begin_sum)(const medgen_context_t* ctx, medgen_tensor_t* inout) MEDGEN_NOEXCEPT;
  /* Waits for all sums that were begun. [inside step] */
  medgen_status_t (*finish)(const medgen_context_t* ctx) MEDGEN_NOEXCEPT;
} medgen_gradients_t;

MEDGEN_EXTERN_C_END
#endif
