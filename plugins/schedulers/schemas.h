// SPDX-License-Identifier: Apache-2.0
// The config schemas. Names and defaults are those of MONAI's constructors; what MONAI lacks stands below "ours".
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace medgen::schedulers {
namespace detail {

/// String constants joined at compile time.
template <const std::string_view&... parts>
struct Joined {
  static constexpr auto characters = [] {
    std::array<char, (parts.size() + ...)> all{};
    auto* end = all.data();
    ((end = std::copy(parts.begin(), parts.end(), end)), ...);
    return all;
  }();
  static constexpr std::string_view value{characters.data(), characters.size()};
};

inline constexpr std::string_view kOpen =
    R"json({"type": "object", "additionalProperties": false, "properties": {)json";
inline constexpr std::string_view kClose = "}}";

inline constexpr std::string_view kProcess = R"json(
  "num_train_timesteps": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000,
    "description": "T, the number of noise levels in training"},
  "schedule": {"enum": ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"], "default": "linear_beta",
    "description": "how beta grows with time"},
  "beta_start": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.0001},
  "beta_end": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.02},
  "prediction_type": {"enum": ["epsilon", "sample", "v_prediction"], "default": "epsilon",
    "description": "what the denoiser predicts: the noise, the clean sample, or the velocity"},
  "clip_sample": {"type": "boolean", "default": true, "description": "clamp the estimate of the clean sample"},
  "clip_sample_min": {"type": "number", "default": -1},
  "clip_sample_max": {"type": "number", "default": 1},
  "steps_offset": {"type": "integer", "minimum": 0, "default": 0, "description": "the cleanest time of a shorter run"},
  "timestep_spacing": {"enum": ["linspace", "leading", "trailing"], "default": "linspace",
    "description": "ours: which training times a shorter run visits; leading is that of latent-diffusion"},
  "respaced": {"type": "boolean", "default": false,
    "description": "ours: step to the noise level of the next visited time; false steps as the released scheduler, which is right only when every time is visited"},
  "sigmoid_range": {"type": "number", "minimum": 0, "maximum": 100, "default": 6, "description": "ours: of sigmoid_beta"},
  "cosine_offset": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.008, "description": "ours: s of cosine"},
  "table_dtype": {"enum": ["float32", "float64"], "default": "float32",
    "description": "ours: float32 rounds the tables as MONAI does, float64 not at all"})json";

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

inline constexpr std::string_view kRflow = R"json(
  "num_train_timesteps": {"type": "integer", "minimum": 1, "maximum": 60000, "default": 1000,
    "description": "T: the denoiser sees times from 0 to T"},
  "use_discrete_timesteps": {"type": "boolean", "default": true, "description": "times are integers"},
  "sample_method": {"enum": ["uniform", "logit-normal"], "default": "uniform", "description": "of training times"},
  "loc": {"type": "number", "default": 0, "description": "of the logit-normal"},
  "scale": {"type": "number", "minimum": 0, "default": 1, "description": "of the logit-normal"},
  "use_timestep_transform": {"type": "boolean", "default": false,
    "description": "more noise for larger latents: t' = r t / (1 + (r - 1) t), r = (size / base_img_size_numel)^(1 / spatial_dim)"
}

                                                                                                                                   ,
  "transform_scale": {"type": "number", "default": 1, "description": "accepted, but without effect, as in the released scheduler"},
  "steps_offset": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 0, "description": "added to every time"},
  "base_img_size_numel": {"type": "integer", "minimum": 1, "default": 32768},
  "spatial_dim": {"type": "integer", "minimum": 1, "maximum": 4, "default": 3},
  "exact_dt": {"type": "boolean", "default": false,
    "description": "ours: steps that add up to 1. The released scheduler rounds times to half precision and cuts off the next time's fraction, so that its steps add up to 1.01"})json";

}  // namespace detail

inline constexpr std::string_view kDdpmSchema =
    detail::Joined<detail::kOpen, detail::kProcess, detail::kDdpm, detail::kClose>::value;
inline constexpr std::string_view kDdimSchema =
    detail::Joined<detail::kOpen, detail::kProcess, detail::kDdim, detail::kClose>::value;
inline constexpr std::string_view kRflowSchema = detail::Joined<detail::kOpen, detail::kRflow, detail::kClose>::value;

}  // namespace medgen::schedulers
