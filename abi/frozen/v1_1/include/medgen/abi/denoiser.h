/* SPDX-License-Identifier: Apache-2.0
 * medgen.denoiser/1: predicts noise, velocity or the clean sample; a one-step generator is a denoiser with a trivial
 * schedule. */
#ifndef MEDGEN_ABI_DENOISER_H
#define MEDGEN_ABI_DENOISER_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

typedef struct medgen_denoiser {
  uint32_t struct_size;
  uint32_t reserved0;
  /* Optional. Conditions that stay the same for the following `predict` calls, so that what depends on them alone is
   * computed once. The host calls it again when they change. */
  medgen_status_t (*prepare)(const medgen_context_t* ctx, medgen_obj_t* self,
                             const medgen_binds_t* conditions) MEDGEN_NOEXCEPT;
  /* in: "x" (N, C, spatial...), "timesteps" (N) float32, and the conditions under their own names.
   * out: "out" (N, C or 2C, spatial...). [serial] */
  medgen_compute_fn predict;
} medgen_denoiser_t;

MEDGEN_EXTERN_C_END
#endif
