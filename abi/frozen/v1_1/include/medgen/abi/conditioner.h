/* SPDX-License-Identifier: Apache-2.0
 * medgen.conditioner/1: turns what the user gave (mask, slice, spacing, region, class) into the tensors a denoiser
 * takes. */
#ifndef MEDGEN_ABI_CONDITIONER_H
#define MEDGEN_ABI_CONDITIONER_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

typedef struct medgen_conditioner {
  uint32_t struct_size;
  uint32_t reserved0;
  /* Once per window. in: the user's inputs and the outputs of the conditioners before it; params_json: the scalars of
   * the step. out: conditions. With MEDGEN_CALL_UNCONDITIONAL the null condition. NULL: nothing to compute once. */
  medgen_compute_fn encode;
  /* At every evaluation (a ControlNet). in: "x", "timesteps", and all conditions. out: further conditions. NULL: none.
   */
  medgen_compute_fn step;
} medgen_conditioner_t;

MEDGEN_EXTERN_C_END
#endif
