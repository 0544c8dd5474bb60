// SPDX-License-Identifier: Apache-2.0
// The config schemas. Names and defaults are those of MONAI's constructors; what MONAI lacks stands below "ours".
#pragma once

#include "plugins/support/joined.h"

#include <string_view>

namespace medgen::schedulers {
namespace detail {

inline constexpr std::string_view kOpen =
    R"json({"type": "object", "additionalProperties": false, "properties": {)json";
inline constexpr std::string_view kClose = "}}";
inline constexpr std::string_view kComma = ",";

inline constexpr std::string_view kTrainSteps = R"json(
  "num_train_timesteps": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
    "description": "T, the number of noise levels in training"})json";

inline constexpr std::string_view kNoiseTable = R"json(,
  "schedule": {"enum": ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"], "default": "linear_beta",
    "description": "how beta grows with time"},
  "beta_start": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0001},
  "beta_end": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.02},
  "sigmoid_range": {"type": "number", "minimum": 0, "maximum": 100, "default": 6, "description": "ours: of sigmoid_beta"},
  "cosine_offset": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.008, "description": "ours: s of cosine"},
  "table_dtype": {"enum": ["float32", "float64"], "default": "float32",
    "description": "ours: float32 rounds the tables as MONAI does, float64 not at all"},
  "steps_offset": {"type": "integer", "minimum": 0, "default": 0, "description": "the cleanest time of a shorter run"})json";

inline constexpr std::string_view kPrediction = R"json(,
  "prediction_type": {"enum": ["epsilon", "sample", "v_prediction"], "default": "epsilon",
    "description": "what the denoiser predicts: the noise, the clean sample, or the velocity"})json";

inline constexpr std::string_view kClip = R"json(,
  "clip_sample": {"type": "boolean", "default": true, "description": "clamp the estimate of the clean sample"},
  "clip_sample_min": {"type": "number", "default": -1},
  "clip_sample_max": {"type": "number", "default": 1})json";

inline constexpr std::string_view kUnclipped = R"json(,
  "clip_sample": {"type": "boolean", "default": false, "description": "clamp the estimate of the clean sample"},
  "clip_sample_min": {"type": "number", "default": -1},
  "clip_sample_max": {"type": "number", "default": 1})json";

inline constexpr std::string_view kLinspace = R"json(,
  "timestep_spacing": {"enum": ["linspace", "leading", "trailing"], "default": "linspace",
    "description": "ours: which training times a shorter run visits; leading is that of latent-diffusion"})json";

inline constexpr std::string_view kLeading = R"json(,
  "timestep_spacing": {"enum": ["linspace", "leading", "trailing"], "default": "leading",
    "description": "ours: which training times a shorter run visits; leading is that of MONAI"})json";

inline constexpr std::string_view kTrailing = R"json(,
  "timestep_spacing": {"enum": ["linspace", "leading", "trailing"], "default": "trailing",
    "description": "which training times a shorter run visits; trailing has no useless evaluation at time 0"})json";

inline constexpr std::string_view kRespaced = R"json(,
  "respaced": {"type": "boolean", "default": false,
    "description": "ours: step to the noise level of the next visited time; false steps as the released scheduler, which is right only when every time is visited"})json";

inline constexpr std::string_view kDdpm = R"json(,
  "variance_type": {"enum": ["fixed_small", "fixed_large", "learned_range"], "default": "fixed_small",
    "description": "variance of each step; learned_range takes it from the second half of the denoiser's channels"})json";

inline constexpr std::string_view kDdim = R"json(,
  "set_alpha_to_one": {"type": "boolean", "default": true,
    "description": "end without noise; false ends at the noise of the first training time"},
  "eta": {"type": "number", "minimum": 0, "maximum": 1, "default": 0,
    "description": "0 is deterministic, 1 has the variance of DDPM"},
  "use_clipped_model_output": {"type": "boolean", "default": false,
    "description": "derive the noise again from the clamped sample"})json";

inline constexpr std::string_view kPndm = R"json(,
  "skip_prk_steps": {"type": "boolean", "default": false,
    "description": "begin with one Heun step in place of three Runge-Kutta steps of four evaluations each"},
  "set_alpha_to_one": {"type": "boolean", "default": false,
    "description": "end without noise; false ends at the noise of the first training time"})json";

inline constexpr std::string_view kFlow = R"json(
  "num_train_timesteps": {"type": "integer", "minimum": 1, "maximum": 60000, "default": 1000,
    "description": "T: the denoiser sees times from 0 to T"},
  "use_discrete_timesteps": {"type": "boolean", "default": true, "description": "times are integers"},
  "sample_method": {"enum": ["uniform", "logit-normal"], "default": "uniform", "description": "of training times"},
  "loc": {"type": "number", "default": 0, "description": "of the logit-normal"},
  "scale": {"type": "number", "minimum": 0, "default": 1, "description": "of the logit-normal"},
  "use_timestep_transform": {"type": "boolean", "default": false,
    "description": "more noise for larger latents: t' = r t / (1 + (r - 1) t), r = (size / base_img_size_numel)^(1 / spatial_dim)"},
  "transform_scale": {"type": "number", "default": 1, "description": "accepted, but without effect, as in the released scheduler"},
  "base_img_size_numel": {"type": "integer", "minimum": 1, "default": 32768},
  "spatial_dim": {"type": "integer", "minimum": 1, "maximum": 4, "default": 3})json";

inline constexpr std::string_view kRflow = R"json(,
  "steps_offset": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0, "description": "added to every time"},
  "solver": {"enum": ["euler", "heun"], "default": "euler",
    "description": "ours: heun has a second evaluation in every step but the last, second order, and always exact steps"},
  "exact_dt": {"type": "boolean", "default": false,
    "description": "ours: steps that add up to 1. The released scheduler rounds times to half precision and cuts off the next time's fraction, so that its steps add up to 1.01"})json";

inline constexpr std::string_view kDpmSolver = R"json(,
  "algorithm_type": {"enum": ["dpmsolver++", "sde-dpmsolver++"], "default": "dpmsolver++",
    "description": "deterministic, or with fresh noise in every step"},
  "method": {"enum": ["multistep", "singlestep"], "default": "multistep",
    "description": "of order 2: 2M looks back at the step before; 2S takes two steps at once and looks at none"},
  "solver_order": {"type": "integer", "minimum": 1, "maximum": 2, "default": 2},
  "solver_type": {"enum": ["midpoint", "heun"], "default": "midpoint", "description": "of order 2"})json";

inline constexpr std::string_view kUniPc = R"json(,
  "solver_order": {"type": "integer", "minimum": 1, "maximum": 3, "default": 2,
    "description": "of the predictor; the corrector adds one"},
  "solver_type": {"enum": ["bh1", "bh2"], "default": "bh2", "description": "B(h) = h or e^h - 1"})json";

/// Two forms of one config: the process that the denoiser was trained on is told by prediction_type.
inline constexpr std::string_view kForms = R"json({"type": "object", "oneOf": [)json";
inline constexpr std::string_view kFlowPrediction = R"json(,
  "prediction_type": {"const": "flow_prediction", "description": "rectified flow: v = x0 - eps"})json";
inline constexpr std::string_view kCloseFlow = R"json(}, "required": ["prediction_type"]})json";
inline constexpr std::string_view kCloseForms = "]}";

/// The samplers for either process; `sampler` are the keys of their own.
template <const std::string_view& sampler>
inline constexpr std::string_view kEither =
    support::Joined<kForms, kOpen, kTrainSteps, kNoiseTable, kPrediction, kUnclipped, kTrailing, sampler, kClose,
                    kComma, kOpen, kFlow, kFlowPrediction, kUnclipped, sampler, kCloseFlow, kCloseForms>::value;

}  // namespace detail

inline constexpr std::string_view kDdpmSchema =
    support::Joined<detail::kOpen, detail::kTrainSteps, detail::kNoiseTable, detail::kPrediction, detail::kClip,
                    detail::kLinspace, detail::kRespaced, detail::kDdpm, detail::kClose>::value;
inline constexpr std::string_view kDdimSchema =
    support::Joined<detail::kOpen, detail::kTrainSteps, detail::kNoiseTable, detail::kPrediction, detail::kClip,
                    detail::kLinspace, detail::kRespaced, detail::kDdim, detail::kClose>::value;
inline constexpr std::string_view kPndmSchema =
    support::Joined<detail::kOpen, detail::kTrainSteps, detail::kNoiseTable, detail::kPrediction, detail::kLeading,
                    detail::kRespaced, detail::kPndm, detail::kClose>::value;
inline constexpr std::string_view kRflowSchema =
    support::Joined<detail::kOpen, detail::kFlow, detail::kRflow, detail::kClose>::value;
inline constexpr std::string_view kDpmSolverSchema = detail::kEither<detail::kDpmSolver>;
inline constexpr std::string_view kUniPcSchema = detail::kEither<detail::kUniPc>;

}  // namespace medgen::schedulers
