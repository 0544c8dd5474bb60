/* SPDX-License-Identifier: Apache-2.0
 * medgen.propagator/1: how a volume is covered. The propagator hands out windows and takes results back; the host runs
 * the sampling of each window, so progress, cancel, noise and memory are the same for every method. */
#ifndef MEDGEN_ABI_PROPAGATOR_H
#define MEDGEN_ABI_PROPAGATOR_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

/* How the known part of a window is imposed. */
#define MEDGEN_KNOWN_NONE 0u
#define MEDGEN_KNOWN_CLEAN 1u   /* clean at every evaluation (MedGen3D) */
#define MEDGEN_KNOWN_RENOISE 2u /* at the noise level of each evaluation, RePaint with r = 1 (GEM-3D) */

#define MEDGEN_WINDOW_INDEPENDENT \
  1u /* needs no earlier result: the host may ask for the next before giving this one back */
#define MEDGEN_WINDOW_START_KNOWN \
  2u /* sampling starts from `known` with noise added (refinement), not from pure noise */

/* One window of the array that is being covered (latent or volume, as the method says). Spatial axes are those of the
 * array in tensor order; a window may look along another axis (three-view methods): its tensor axis i is the array's
 * axis order[i]. All pointers live until `accept`. */
typedef struct medgen_window {
  uint32_t struct_size;
  uint32_t flags; /* MEDGEN_WINDOW_* */
  uint32_t known_rule;
  uint32_t ndim; /* spatial axes used below, at most 4 */
  int64_t origin[4];
  int64_t extent[4];
  int32_t order[4];
  uint64_t noise_stream; /* windows with the same number share the noise of the whole array; others are independent */
  const medgen_tensor_t* known;      /* (C, extent...) or NULL */
  const medgen_tensor_t* known_mask; /* (extent...) uint8, 1 = known, or NULL */
  medgen_binds_t conditions;         /* conditions of this window (position, informed slice); may be empty */
} medgen_window_t;

typedef struct medgen_cover_request {
  uint32_t struct_size;
  uint32_t ndim; /* spatial axes */
  int64_t channels;
  const int64_t* shape;         /* spatial shape of the array */
  const medgen_binds_t* inputs; /* what the user gave (informed slice, start index ...) */
  const medgen_space_t* space;  /* of the volume, or NULL */
} medgen_cover_request_t;

typedef struct medgen_propagator {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_status_t (*begin)(const medgen_context_t* ctx, medgen_obj_t* self, const medgen_cover_request_t* request,
                           medgen_obj_t** cover) MEDGEN_NOEXCEPT;
  /* Next window, *done = 1 when there is none left. At least one window is open or the cover is done. */
  medgen_status_t (*next)(const medgen_context_t* ctx, medgen_obj_t* self, medgen_obj_t* cover, medgen_window_t* window,
                          int32_t* done) MEDGEN_NOEXCEPT;
  /* The result of `window`, (C, extent...) float32. */
  medgen_status_t (*accept)(const medgen_context_t* ctx, medgen_obj_t* self, medgen_obj_t* cover,
                            const medgen_window_t* window, const medgen_tensor_t* result) MEDGEN_NOEXCEPT;
  /* out: "x" (C, shape...), everything covered; a gap is MEDGEN_E_STATE. */
  medgen_status_t (*finish)(const medgen_context_t* ctx, medgen_obj_t* self, medgen_obj_t* cover,
                            const medgen_outputs_t* out) MEDGEN_NOEXCEPT;
  void (*end)(medgen_obj_t* self, medgen_obj_t* cover) MEDGEN_NOEXCEPT;
  /* Number of windows of a cover of this shape, for planning; 0 = unknown. */
  uint64_t (*count)(medgen_obj_t* self, const medgen_cover_request_t* request) MEDGEN_NOEXCEPT;
} medgen_propagator_t;

MEDGEN_EXTERN_C_END
#endif
