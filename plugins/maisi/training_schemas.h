// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/support/joined.h"
#include "plugins/support/training/options_schema.h"

#include <string_view>

// What the trainings of VAE and U-Nets can be told, and the description of the feature network.

namespace medgen::maisi {

inline constexpr std::string_view kAutoencoderLossOptions = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "loss": {"enum": ["l1", "l2"], "default": "l1", "description": "between image and reconstruction; label maps have cross-entropy"},
    "kl_weight": {"type": "number", "minimum": 0, "default": 1e-7},
    "perceptual_weight": {"type": "number", "minimum": 0, "default": 0, "description": "released: 0.3; wants the step's \"perceptual\" network"},
    "perceptual_slices": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.2, "description": "part of the slices of each axis that are compared"},
    "adversarial_weight": {"type": "number", "minimum": 0, "default": 0, "description": "released: 0.1; 0: without a discriminator"},
    "adversarial_start": {"type": "integer", "minimum": 0, "default": 0, "description": "iterations before the discriminator learns and counts"},
    "discriminator_rate": {"type": "number", "exclusiveMinimum": 0, "default": 1, "description": "its learning rate, times that of the autoencoder"},
)json";

inline constexpr std::string_view kUnetLossOptions = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "loss": {"enum": ["l1", "l2"], "default": "l1"},
    "train_denoiser": {"type": "boolean", "default": true, "description": "false: only its ControlNet learns"},
    "modality_dropout": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "how often a modality becomes the general one of its kind, and how often unknown (released: 0.1)"},
    "contrast": {"type": "object", "additionalProperties": false,
      "description": "region-contrastive loss of a ControlNet, between label maps with and without tumours (null_labels)",
      "properties": {
        "weight": {"type": "number", "exclusiveMinimum": 0, "default": 0.01},
        "margin": {"type": "number", "exclusiveMinimum": 0, "default": 2, "description": "a larger difference gains nothing"},
        "dilation": {"type": "integer", "minimum": 1, "default": 3, "description": "edge of the cube that widens the tumours for the background, odd"}}},
    "lora": {"type": "object", "additionalProperties": false,
      "description": "low-rank adapters learn in place of the denoiser's weights; the package is a small adapter",
      "properties": {
        "rank": {"type": "integer", "minimum": 1, "maximum": 4096, "default": 8},
        "alpha": {"type": "number", "exclusiveMinimum": 0, "description": "adapters count alpha / rank; the rank when missing"},
        "names": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": ["to_q", "to_k", "to_v", "out_proj"], "description": "parts of the names of adapted layers"},
        "convolutions": {"type": "boolean", "default": false, "description": "all kernels too"}}},
)json";

inline constexpr std::string_view kAutoencoderTrainerOptions =
    support::Joined<kAutoencoderLossOptions, support::kTrainingOptionsSchema>::value;
inline constexpr std::string_view kUnetTrainerOptions =
    support::Joined<kUnetLossOptions, support::kTrainingOptionsSchema>::value;

inline constexpr std::string_view kLpipsSchema = R"json({
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "network": {"enum": ["squeeze", "st_alex"], "default": "squeeze", "description": "SqueezeNet 1.1 (LPIPS 0.1), or AlexNet with blurred strides (ST-LPIPS)"}
  }
})json";

inline constexpr std::string_view kLpipsIo = R"json({
  "functions": {
    "encode": {
      "summary": "perceptual distance of each pair of images, which are published for [-1, 1]; one channel stands for three",
      "params": {},
      "in": {"x": {"shape": ["N", "1 or 3", "H", "W"], "dtype": "F32"}, "y": {"shape": ["N", "1 or 3", "H", "W"], "dtype": "F32"}},
      "out": {"distance": {"shape": ["N"], "dtype": "F32"}}}
  }
})json";

}  // namespace medgen::maisi
