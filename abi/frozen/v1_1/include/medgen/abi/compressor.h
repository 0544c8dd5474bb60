/* SPDX-License-Identifier: Apache-2.0
 * medgen.compressor/1: between a volume and its latent. A GAN is a compressor with a prior: prior -> decode. */
#ifndef MEDGEN_ABI_COMPRESSOR_H
#define MEDGEN_ABI_COMPRESSOR_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

/* Any slot may be NULL: the object cannot do it. */
typedef struct medgen_compressor {
  uint32_t struct_size;
  uint32_t reserved0;
  /* in: "x" (N, C, spatial...). out: "mean", and "sigma" where the latent is a distribution; same shape. */
  medgen_compute_fn encode;
  /* in: "z" and conditions where the method has them. out: "x". */
  medgen_compute_fn decode;
  /* in: params_json {"batch": N} and conditions. out: "z". */
  medgen_compute_fn prior;
} medgen_compressor_t;

MEDGEN_EXTERN_C_END
#endif
