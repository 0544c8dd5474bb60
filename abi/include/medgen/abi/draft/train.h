/* SPDX-License-Identifier: Apache-2.0
 * DRAFT medgen.train/1, a component extension: the plugin computes losses, gradients and updates; the host owns data,
 * loop, noise, learning rates, checkpoints and, later, the exchange of gradients. May change without notice until it
 * leaves draft/; its id will not. */
#ifndef MEDGEN_ABI_DRAFT_TRAIN_H
#define MEDGEN_ABI_DRAFT_TRAIN_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

#define MEDGEN_TRAIN_1 "medgen.train/1"

/* What `save` and `load` move; bits. Tensor names are "weights/<name>", "ema/<name>", "optimizer/<name>/<slot>". What
 * training needs beside the model, such as a discriminator, is part of the optimiser's state. GRADIENTS, of `save`
 * alone: the mean of those gathered since the last `apply`, "gradients/<name>"; of such a helper under its own name
 * before that, "discriminator/gradients/<name>". */
#define MEDGEN_TRAIN_WEIGHTS 1u
#define MEDGEN_TRAIN_EMA 2u
#define MEDGEN_TRAIN_OPTIMIZER 4u
#define MEDGEN_TRAIN_GRADIENTS 8u

/* Another component of the same plugin that takes part in the graph (a ControlNet in front of its U-Net). */
typedef struct medgen_train_peer {
  medgen_str_t role; /* "controlnet" */
  medgen_obj_t* object;
  uint32_t trained; /* 0 = frozen */
  uint32_t reserved0;
} medgen_train_peer_t;

typedef struct medgen_train {
  uint32_t struct_size;
  uint32_t reserved0;
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
  medgen_status_t (*save)(const medgen_context_t* ctx, medgen_obj_t* trainer, uint32_t what,
                          const medgen_outputs_t* out) MEDGEN_NOEXCEPT;
  medgen_status_t (*load)(const medgen_context_t* ctx, medgen_obj_t* trainer, uint32_t what,
                          const medgen_binds_t* in) MEDGEN_NOEXCEPT;
  void (*end)(medgen_obj_t* trainer) MEDGEN_NOEXCEPT;
  /* The scalars of `step` for one batch, with the averaged weights where there are any, without gradients and without
   * what is random in training alone; nothing of the trainer changes. May be NULL: then there is no validation. */
  medgen_status_t (*evaluate)(const medgen_context_t* ctx, medgen_obj_t* trainer, const medgen_binds_t* batch,
                              const medgen_outputs_t* out) MEDGEN_NOEXCEPT;
} medgen_train_t;

MEDGEN_EXTERN_C_END
#endif
