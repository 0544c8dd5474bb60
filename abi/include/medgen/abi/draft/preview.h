/* SPDX-License-Identifier: Apache-2.0
 * DRAFT medgen.preview/1, a component extension of compressors: a cheap picture of a latent while sampling goes on. */
#ifndef MEDGEN_ABI_DRAFT_PREVIEW_H
#define MEDGEN_ABI_DRAFT_PREVIEW_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

#define MEDGEN_PREVIEW_1 "medgen.preview/1"

typedef struct medgen_preview {
  uint32_t struct_size;
  uint32_t reserved0;
  /* in: "z" (N, C, spatial...), the current estimate of the clean latent. out: "x" at any resolution, quickly. */
  medgen_compute_fn render;
} medgen_preview_t;

MEDGEN_EXTERN_C_END
#endif
