/* SPDX-License-Identifier: Apache-2.0
 * medgen.scheduler/1: the mathematics of one sampling process, as numbers. A scheduler never touches a tensor: it says
 * where to evaluate the denoiser and gives the coefficients of each update in double precision; the host applies them,
 * in one pass, on any device. Symbols: x the current sample, m the denoiser's output, x0 the clean sample, eps the
 * noise, x_t = alpha x0 + sigma eps. */
#ifndef MEDGEN_ABI_SCHEDULER_H
#define MEDGEN_ABI_SCHEDULER_H

#include <medgen/abi/component.h>

MEDGEN_EXTERN_C_BEGIN

/* What a run is for. */
typedef struct medgen_schedule_request {
  uint32_t struct_size;
  uint32_t steps;       /* number of updates the user asked for */
  double start;         /* 1 = from pure noise; s < 1 = from add_noise at that fraction of the process (refinement) */
  const int64_t* shape; /* of one sample of the latent: channels, then spatial axes */
  uint64_t ndim;
  const double* timesteps; /* the user's own list, descending, or NULL */
  uint64_t n_timesteps;
} medgen_schedule_request_t;

/* Signal and noise at one time, and how the denoiser's output relates to them. */
typedef struct medgen_level {
  uint32_t struct_size;
  uint32_t reserved0;
  double alpha; /* x_t = alpha x0 + sigma eps */
  double sigma;
  double target_x0; /* training target = target_x0 x0 + target_eps eps */
  double target_eps;
  double x0_x; /* x0 = x0_x x + x0_m m */
  double x0_m;
} medgen_level_t;

#define MEDGEN_UPDATE_CLAMP_X0 1u /* x0 is clamped to [clamp_low, clamp_high] before it is used */
#define MEDGEN_UPDATE_NOISE 2u    /* fresh noise is used (noise_scale, or the learned range) */
#define MEDGEN_UPDATE_LEARNED_RANGE                                                   \
  4u /* m has 2C channels; the second half v in [-1,1] interpolates the log variance: \
        log var = (v+1)/2 * log_variance_max + (1 - (v+1)/2) * log_variance_min */
#define MEDGEN_HISTORY 8

/* One update. With x0 = x0_x x + x0_m m (clamped when asked):
 *     next = x x + m m + x0 x0 + sum_k history[k] H[k] + noise_scale eps
 * where H are up to eight tensors that earlier evaluations stored. After `next` is formed, the value of x, m or x0 of
 * this evaluation is stored into the slots named by keep_*, -1 for none. */
typedef struct medgen_update {
  uint32_t struct_size;
  uint32_t flags; /* MEDGEN_UPDATE_* */
  double x0_x, x0_m;
  double clamp_low, clamp_high;
  double x, m, x0;
  double noise_scale;
  double log_variance_min, log_variance_max;
  double history[MEDGEN_HISTORY];
  int32_t keep_x, keep_m, keep_x0;
  uint32_t completes_step; /* 1 when this evaluation ends one of the user's steps (Heun: every second one) */
} medgen_update_t;

/* A run is the state of one sampling process; runs are independent of each other. */
typedef struct medgen_scheduler {
  uint32_t struct_size;
  uint32_t reserved0;
  medgen_status_t (*begin)(medgen_obj_t* self, const medgen_schedule_request_t* request,
                           medgen_obj_t** run) MEDGEN_NOEXCEPT;
  void (*end)(medgen_obj_t* self, medgen_obj_t* run) MEDGEN_NOEXCEPT;
  /* Times of all evaluations in order, as the denoiser wants them. Lives until `end`. */
  medgen_status_t (*timesteps)(medgen_obj_t* self, medgen_obj_t* run, const double** t, uint64_t* n) MEDGEN_NOEXCEPT;
  /* Coefficients of evaluation i. */
  medgen_status_t (*update)(medgen_obj_t* self, medgen_obj_t* run, uint64_t i, medgen_update_t* out) MEDGEN_NOEXCEPT;
  /* Signal and noise at time t; run may be NULL (training). */
  medgen_status_t (*level)(medgen_obj_t* self, medgen_obj_t* run, double t, medgen_level_t* out) MEDGEN_NOEXCEPT;
  /* The time to train at, for u uniform in [0,1). `request` gives the latent shape (it shifts the times of rectified
   * flow). */
  medgen_status_t (*training_time)(medgen_obj_t* self, const medgen_schedule_request_t* request, double u,
                                   double* t) MEDGEN_NOEXCEPT;
} medgen_scheduler_t;

MEDGEN_EXTERN_C_END
#endif
